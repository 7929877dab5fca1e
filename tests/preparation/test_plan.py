"""A plan, and whether what follows keeps to it."""

import re
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir
from servers import NO_RANGES, Fault, always, serve

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.jobs import ignore, unseen
from oiv5_d2.openimages import release
from oiv5_d2.preparation import plan as plans
from oiv5_d2.preparation import stages
from oiv5_d2.preparation.plan import make_plan, seconds_at
from oiv5_d2.preparation.settings import read_request
from oiv5_d2.preparation.steps import run_stages, select_subsets
from oiv5_d2.preparation.steps import stages as stages_of
from oiv5_d2.problems import Kind
from oiv5_d2.synthetic import write_release

RARE = ["data.classes=[Traffic light]"]
TRAIN = "data.splits=[train]"
HASTY = "transfer.retry_config={max_retries: 1, backoff: {init_backoff: 10ms, max_backoff: 20ms}}"


@pytest.fixture
def ask(tmp_path):
    """Return a request for data out of a place, with other settings."""

    def request(source, *words):
        given = [f"data.source={source}", f"data.dir={tmp_path / 'data'}", "max_missing=0.5"]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            run = compose("prepare", ["data=folder", "data.name=dense", *given, HASTY, *words])
        return read_request(run)

    return request


def prepare(request, *names):
    """Run some of the stages."""
    for stage in stages_of(request):
        if stage.name in names:
            stages.run(stage, request.data.dir, ignore)


def num_bytes_of(log, ending):
    return sum(line.num_bytes for line in log if line.path.endswith(ending) and line.status < 400)


@pytest.fixture(scope="module")
def dense_release(tmp_path_factory):
    """A release of one split with enough images for zips of some length."""
    root = tmp_path_factory.mktemp("dense") / "release"
    write_release(root, {"train": 60}, (96, 128), 0, ignore)
    return root


@pytest.mark.parametrize("words", [[], RARE, [*RARE, "data.id_prefixes=['0','1']"]])
def test_what_is_fetched_is_what_the_plan_says_to_the_byte(dense_release, ask, words):
    with serve(dense_release) as server:
        request = ask(server.url, TRAIN, *words)
        (need,) = make_plan(request).splits
        assert num_bytes_of(server.log, ".jpg") == 0
        server.log.clear()
        prepare(request, "select", "fetch")
        assert num_bytes_of(server.log, ".jpg") == need.images.num_bytes > 0
        assert num_bytes_of(server.log, ".zip") == need.masks.num_bytes > 0
        asked = [line for line in server.log if line.method == "GET"]
        assert sum(line.path.endswith(".zip") for line in asked) == need.masks.num_requests


def test_tables_are_downloaded_once_and_serve_any_choice(dense_release, ask):
    with serve(dense_release) as server:
        for words, is_first in ([], True), ([], False), (RARE, False):
            server.log.clear()
            request = ask(server.url, TRAIN, *words)
            (expected,) = plans.table_bytes(request).values()
            select_subsets(request, ignore)
            came = num_bytes_of(server.log, ".csv") + num_bytes_of(server.log, ".json")
            assert came == expected and (came > 0) == is_first


def test_each_step_of_a_plan_is_shown(dense_release, ask):
    steps = {}

    @contextmanager
    def show(name, totals, /):
        steps[name] = [sum(totals.values()), 0]

        def advance(num_done, *_):
            steps[name][1] += num_done

        yield advance

    with serve(dense_release) as server:
        make_plan(ask(server.url, TRAIN), show)
    assert list(steps) == ["tables", "mask zips of train"]
    assert all(total == num_done > 0 for total, num_done in steps.values())


def test_a_server_without_ranges_is_planned_with_whole_zips(dense_release, ask):
    with serve(dense_release, always(NO_RANGES)) as server:
        request = ask(server.url, TRAIN)
        (need,) = make_plan(request).splits
        server.log.clear()
        prepare(request, "select", "fetch")
        whole = [line for line in server.log if line.path.endswith(".zip") and not line.range]
        assert sum(line.num_bytes for line in whole) == need.masks.num_bytes


def test_what_is_here_is_not_planned_again(dense_release, ask):
    with serve(dense_release) as server:
        request = ask(server.url, TRAIN)
        (first,) = make_plan(request).splits
        prepare(request, "select", "fetch")
        done = make_plan(request)
        assert dict(done.stages)["fetch"] and not done.splits
        for path in sorted((request.data.dir / "images" / "train").iterdir())[:7]:
            path.unlink()
        (request.data.dir / "masks" / "train-masks-0.zip").unlink()
        (again,) = make_plan(request).splits
    assert again.images.num_images == 7 + first.images.num_absent
    assert 0 < again.masks.num_masks < first.masks.num_masks


def test_what_failed_is_planned_again_when_it_is_to_be_retried(dense_release, ask):
    """Images and one zip are refused at first."""

    def faults(request, chance):
        return Fault(403) if re.search("masks-0.zip|/0[^/]*jpg", request.path) else None

    with serve(dense_release, faults) as server:
        request = ask(server.url, TRAIN)
        prepare(request, "select", "fetch")
        server.faults = None
        assert dict(make_plan(request).stages)["fetch"]
        again = replace(request, retry_failed=True)
        plan = make_plan(again)
        assert not dict(plan.stages)["fetch"] and not dict(plan.stages)["convert train"]
        server.log.clear()
        prepare(again, "fetch")
    asked = [line.path for line in server.log if line.method == "GET"]
    assert sum(path.endswith(".jpg") for path in asked) == plan.splits[0].images.num_images > 0
    assert {path[-5] for path in asked if path.endswith(".zip")} == {"0"}


def test_missing_and_refused_files_are_counted(dense_release, ask):
    zip_path = f"{release.ANNOTATIONS_DIR}/{release.V5.mask_zip('train', '0').path}"
    images_path = f"{release.IMAGES_DIR}/train/"
    for status, kind in (404, Kind.ABSENT), (403, Kind.REFUSED):
        with serve(dense_release) as server:
            server.faults = lambda request, chance, status=status: (
                Fault(status)
                if request.path == zip_path or request.path.startswith(images_path)
                else None
            )
            (need,) = make_plan(ask(server.url, TRAIN)).splits
        assert need.images.num_bytes == 0
        assert need.images.num_absent == (need.images.num_images if status == 404 else 0)
        assert kind in {problem.kind for problem in need.problems}
        assert need.masks.num_masks > 0  # of the other zips


def test_many_images_are_asked_about_in_a_sample(dense_release, ask, monkeypatch):
    monkeypatch.setattr(plans, "SAMPLE", 20)
    with serve(dense_release) as server:
        (sampled,) = make_plan(ask(server.url, TRAIN)).splits
        num_asked = sum(line.path.endswith(".jpg") for line in server.log)
    assert num_asked == sampled.images.num_asked <= 20 < sampled.images.num_images
    (exact,) = make_plan(ask(dense_release, TRAIN)).splits
    assert sampled.images.num_bytes == pytest.approx(exact.images.num_bytes, rel=0.3)


def test_disk_space_covers_what_is_written_about_the_files(dense_release, ask):
    request = ask(dense_release, TRAIN, "workers=1")
    plan = make_plan(request)
    assert run_stages(request, unseen, ignore) == len(plan.stages)
    paths = [path for path in request.data.dir.rglob("*") if path.is_file()]
    used = sum(path.stat().st_size for path in paths)
    assert used <= plan.disk_bytes <= 2 * used
    assert make_plan(request).disk_bytes == 0


def test_a_release_that_is_still_to_be_drawn_has_no_needs(tmp_path):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        run = compose("prepare", ["data=mini", f"data.dir={tmp_path / 'mini'}"])
    plan = make_plan(read_request(run))
    assert not plan.parts and not any(done for _, done in plan.stages)
    assert not (tmp_path / "mini").exists()


def test_a_download_takes_its_bits_at_the_network_s_rate():
    assert seconds_at(125_000_000, 1e9) == 1
    assert seconds_at(125_000_000, 100e6) == 10
