"""A plan, and whether what follows keeps to it."""

import re
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir
from oiv5_d2.acquisition.stores import StoreError
from oiv5_d2.preparation.planning import make_plan
from oiv5_d2.preparation.request import make_request
from oiv5_d2.preparation.sources import select_subsets
from servers import NO_RANGES, Fault, always, serve

from oiv5_d2.console.errors import CONFIG_DIR
from oiv5_d2.openimages import release
from oiv5_d2.preparation import stages
from oiv5_d2.preparation.steps import stages as stages_of
from oiv5_d2.synthetic import write_release

RARE = ["data.classes=[Traffic light]"]


@pytest.fixture
def ask(tmp_path):
    """Return a request for data out of a place, with other settings."""

    def request(source, *words):
        given = [f"data.source={source}", f"data.dir={tmp_path / 'data'}", "max_missing=0.5"]
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            run = compose("prepare", ["data=folder", *given, *words])
        return make_request(run)

    return request


def plan_of(request):
    return make_plan(request)


def prepare(request, *names):
    """Run some of the stages."""
    for stage in stages_of(request):
        if stage.name in names:
            stages.run(stage, request.data.dir, lambda *news: None)


def num_bytes_of(log, ending):
    return sum(line.num_bytes for line in log if line.path.endswith(ending) and line.status < 400)


@pytest.fixture(scope="module")
def dense_release(tmp_path_factory):
    """A release of one split whose pictures are many enough for zips of some length."""
    root = tmp_path_factory.mktemp("dense") / "release"
    write_release(root, {"train": 60}, (96, 128), 0, lambda _: None)
    return root


@pytest.mark.parametrize("words", [[], RARE, [*RARE, "data.id_prefixes=['0','1']"]])
@pytest.mark.parametrize("is_whole", [False, True])
def test_what_comes_is_what_the_plan_says_to_the_byte(
    dense_release, ask, words, is_whole, monkeypatch
):
    if is_whole:  # a whole zip may be as much more than what is wanted of it as it likes
        monkeypatch.setattr("oiv5_d2.acquisition.mask_zips.ranges.MOST_EXCESS", 1e9)
    with serve(dense_release) as server:
        request = ask(server.url, "data.splits=[train]", *words)
        plan = plan_of(request)
        assert num_bytes_of(server.log, ".jpg") == 0
        num_planned = len(server.log)
        prepare(request, "select", "fetch")
        assert num_bytes_of(server.log, ".jpg") == plan.image_bytes > 0
        assert num_bytes_of(server.log[num_planned:], ".zip") == plan.mask_bytes > 0
        asked = [
            line
            for line in server.log[num_planned:]
            if line.method == "GET" and line.path.endswith(".zip")
        ]
        assert len(asked) == plan.num_zip_requests
        for need in plan.zips:
            assert need.plan.by_range != is_whole
            ranges = [bool(line.range) for line in asked if f"-{need.digit}.zip" in line.path]
            assert ranges == ([True] * need.plan.num_requests if need.plan.by_range else [False])


def test_the_bytes_of_tables_to_download_are_told_before_they_are(dense_release, ask, caplog):
    caplog.set_level("INFO")
    told = []

    def select(server, *words):
        caplog.clear()
        server.log.clear()
        request = ask(server.url, "data.splits=[train]", *words)
        select_subsets(request, lambda *news: None, told.append)
        assert num_bytes_of(server.log, ".csv") + num_bytes_of(server.log, ".json") == told[-1]
        return "of tables to download from" in caplog.text

    with serve(dense_release) as server:
        assert select(server) and told[-1] > 0
        assert not select(server) and told[-1] == 0
        assert not select(server, *RARE) and told[-1] == 0  # whole tables serve any choice


def test_each_step_of_a_plan_is_shown(dense_release, ask):
    steps = {}

    @contextmanager
    def show(name, totals, /):
        steps[name] = [sum(totals.values()), 0]

        def advance(num_done, *_):
            steps[name][1] += num_done

        yield advance

    with serve(dense_release) as server:
        plan = make_plan(ask(server.url, "data.splits=[train]"), show)
    assert list(steps) == ["tables", "zip directories", "picture sizes, train"]
    assert all(total == num_done > 0 for total, num_done in steps.values())
    assert steps["zip directories"][0] == len(plan.zips)


def test_a_server_without_ranges_is_planned_with_whole_zips(dense_release, ask):
    with serve(dense_release, always(NO_RANGES)) as server:
        request = ask(server.url, "data.splits=[train]", "transfer.pause_seconds=0.01")
        plan = plan_of(request)
        assert {need.why for need in plan.zips} == {"the server has only whole files to give"}
        server.log.clear()
        prepare(request, "select", "fetch")
        came = [line for line in server.log if line.path.endswith(".zip") and not line.range]
        assert sum(line.num_bytes for line in came) == plan.mask_bytes


def test_what_is_here_is_not_planned_again(dense_release, ask):
    with serve(dense_release) as server:
        request = ask(server.url, "data.splits=[train]")
        first = plan_of(request)
        prepare(request, "select", "fetch")
        assert dict(plan_of(request).stages)["fetch"]
        for path in sorted((request.data.dir / "images" / "train").iterdir())[:7]:
            path.unlink()
        (request.data.dir / "masks" / "train-masks-0.zip").unlink()
        again = plan_of(request)
    (images,) = again.images
    assert (images.num_files, images.num_asked) == (7 + first.images[0].num_absent,) * 2
    assert [need.digit for need in again.zips] == ["0"]


@pytest.mark.parametrize("place", ["masks/.whole-{}", "masks/original/{}"])
def test_a_zip_that_came_whole_already_is_not_fetched(dense_release, ask, tmp_path, place):
    name = "train-masks-0.zip"
    path = tmp_path / "data" / place.format(name)
    path.parent.mkdir(parents=True)
    whole = dense_release / release.ANNOTATIONS_DIR / release.V5.mask_zip("train", "0").path
    shutil.copy(whole, path)
    with serve(dense_release) as server:
        prefix = "data.id_prefixes=['0']"
        request = ask(server.url, "data.splits=[train]", prefix, "keep_zips=true", "rate=1000")
        plan = plan_of(request)
        prepare(request, "select", "fetch")
        assert num_bytes_of(server.log, ".zip") == 0
    assert plan.zips[0].plan.is_here
    assert (plan.num_masks, plan.mask_bytes, plan.num_zip_requests) == (0, 0, 0)
    assert plan.seconds == plan.image_bytes / 1000


def test_what_failed_is_planned_again_when_it_is_to_be_tried_again(dense_release, ask):
    """Pictures and one zip are locked at first."""

    def faults(request, chance):
        return Fault(403) if re.search("masks-0.zip|/0[^/]*jpg", request.path) else None

    with serve(dense_release, faults) as server:
        request = ask(server.url, "data.splits=[train]")
        prepare(request, "select", "fetch")
        server.faults = None
        assert dict(plan_of(request).stages)["fetch"]
        again = replace(request, retry_failed=True)
        plan = plan_of(again)
        assert not dict(plan.stages)["fetch"]
        server.log.clear()
        prepare(again, "fetch")
    asked = [line.path for line in server.log if line.method == "GET"]
    assert sum(path.endswith(".jpg") for path in asked) == plan.num_images > 0
    assert [need.digit for need in plan.zips] == ["0"]
    assert not dict(plan_of(again).stages)["convert train"]


def test_a_picture_and_a_zip_that_are_not_there_are_told(dense_release, ask):
    plan = plan_of(ask(dense_release, "data.splits=[train]"))
    assert plan.bytes_per_second is None  # a folder has no rate
    with serve(dense_release) as server:
        path = f"{release.ANNOTATIONS_DIR}/{release.V5.mask_zip('train', '0').path}"
        absent = f"{release.IMAGES_DIR}/train/"
        server.faults = lambda request, chance: (
            Fault(404) if request.path == path or request.path.startswith(absent) else None
        )
        plan = plan_of(ask(server.url, "data.splits=[train]"))
    (images,) = plan.images
    assert images.num_absent == images.num_asked == images.num_files
    by_digit = {need.digit: need for need in plan.zips}
    assert (by_digit["0"].plan, by_digit["0"].why) == (None, "it is not there")
    assert by_digit["1"].plan is not None


def test_pictures_that_are_refused_are_not_told_as_absent(dense_release, ask):
    (exact,) = plan_of(ask(dense_release, "data.splits=[train]")).images
    with serve(dense_release) as server:
        refuse = re.compile("train/[0-7][^/]*jpg")
        server.faults = lambda request, chance: Fault(403 * bool(refuse.search(request.path)))
        (images,) = plan_of(ask(server.url, "data.splits=[train]")).images
        assert 0 < images.num_failed < images.num_asked == images.num_files
        assert images.num_absent <= exact.num_absent
        assert images.why == "the server says 403 Forbidden"
        assert images.num_bytes == pytest.approx(exact.num_bytes, rel=0.3)
        assert exact.is_exact and not images.is_exact
        refuse = re.compile("jpg")
        with pytest.raises(StoreError) as caught:
            plan_of(ask(server.url, "data.splits=[train]"))
    where = f"{server.url}/{release.IMAGES_DIR}/train"
    why = "no picture's size is to be had: the server says 403 Forbidden"
    assert str(caught.value) == f"{where}: {why}"


def test_a_rate_is_given_or_measured_by_a_fetch(dense_release, ask):
    with serve(dense_release) as server:
        first = plan_of(ask(server.url, "data.splits=[train]"))
        given = plan_of(ask(server.url, "data.splits=[train]", "rate=1"))
        request = ask(server.url, "data.splits=[train]")
        prepare(request, "select", "fetch")
        (request.data.dir / "images" / "train" / first_picture(request)).unlink()
        again = plan_of(request)
    assert (first.bytes_per_second, first.seconds, first.rate_is) == (None, None, "")
    assert (given.rate_is, given.bytes_per_second) == ("given", 1)
    assert given.seconds == given.image_bytes + given.mask_bytes
    assert again.rate_is.startswith("measured by an earlier fetch")
    assert again.bytes_per_second > 0
    with serve(dense_release) as other:  # another server's rate is no measure of this one's
        assert plan_of(ask(other.url, "data.splits=[train]")).rate_is == ""


def test_tables_are_a_measure_where_they_are_long_and_nothing_was_fetched(
    dense_release, ask, monkeypatch
):
    monkeypatch.setattr("oiv5_d2.preparation.rates.LEAST_TABLES", 1000)
    with serve(dense_release) as server:
        first = plan_of(ask(server.url, "data.splits=[train]"))
        again = plan_of(ask(server.url, "data.splits=[train]"))
    assert first.rate_is.startswith("measured by tables")
    assert again.bytes_per_second == first.bytes_per_second > 0


def first_picture(request):
    return min(path.name for path in (request.data.dir / "images" / "train").glob("*.jpg"))


def test_many_pictures_are_asked_about_in_a_sample(dense_release, ask, monkeypatch):
    monkeypatch.setattr("oiv5_d2.preparation.planning.SAMPLE", 20)
    with serve(dense_release) as server:
        sampled = plan_of(ask(server.url, "data.splits=[train]"))
        num_asked = sum(line.path.endswith(".jpg") for line in server.log)
    (images,) = sampled.images
    assert num_asked == images.num_asked <= 20 < images.num_files
    (exact,) = plan_of(ask(dense_release, "data.splits=[train]")).images
    assert images.num_bytes == pytest.approx(exact.num_bytes, rel=0.3)


def test_disk_counts_what_is_written_about_the_files_until_it_is(dense_release, ask):
    request = ask(dense_release, "data.splits=[train]", "workers=1")
    plan = plan_of(request)
    prepare(request, *(stage.name for stage in stages_of(request)))
    paths = [path for path in request.data.dir.rglob("*") if path.is_file()]
    used = sum(path.stat().st_size for path in paths)
    assert used <= plan.disk_bytes <= 2 * used
    assert plan_of(request).disk_bytes == 0


def test_a_release_that_is_still_to_be_drawn_has_no_needs(tmp_path):
    words = ["data=mini", f"data.dir={tmp_path / 'mini'}"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        run = compose("prepare", words)
    plan = plan_of(make_request(run))
    assert not plan.needs and not any(done for _, done in plan.stages)
    assert not (tmp_path / "mini").exists()
