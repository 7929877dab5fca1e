"""The tool as people run it, on a tiny synthetic release."""

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import psutil
import pytest
from forked import run_tool
from hydra import compose, initialize_config_dir
from processes import wait_until
from raising import refused
from rich.console import Console
from servers import Fault, serve

from oiv5_d2.acquisition.manifest import read_manifest
from oiv5_d2.acquisition.shards import read_mask_file
from oiv5_d2.audit import tables as audit_tables
from oiv5_d2.audit.audit import read_audit
from oiv5_d2.console import screen
from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.conversion.convert import coco_path, read_converted
from oiv5_d2.conversion.verify import verify
from oiv5_d2.jobs import ignore, unseen
from oiv5_d2.openimages import release
from oiv5_d2.openimages.readers import read_rows
from oiv5_d2.preparation.plan import make_plan
from oiv5_d2.preparation.settings import read_request
from oiv5_d2.preparation.stages import locked
from oiv5_d2.preparation.steps import run_stages, stages
from oiv5_d2.preparation.tables import plan_tables
from oiv5_d2.problems import Kind
from oiv5_d2.selection.subset import load

# pycocotools hands NumPy an array type of before NumPy 2; only a warning, and not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "prepare_data.py"
PARTS = "train", "validation", "test"
TINY = [
    "data.synthetic.num_images={train: 8, validation: 4, test: 3}",
    "data.synthetic.size=[96,128]",
    "max_missing=0.5",
]
FOLDER = ["data=folder", "data.name=folder", "max_missing=0.5"]
HASTY = "transfer.retry_config={max_retries: 1, backoff: {init_backoff: 10ms, max_backoff: 20ms}}"


def ask(*words):
    """Return the request that these command-line words make."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return read_request(compose("prepare", ["workers=1", *words]))


def ask_for_folder(data_dir, source, *words):
    where = ["data.name=folder", f"data.source={source}", f"data.dir={data_dir}"]
    # Of a dozen images, the one that is missing on purpose is a large share.
    return ask("data=folder", *where, "max_missing=0.5", HASTY, *words)


def prepare(request):
    with locked(request.data.dir):
        return run_stages(request, unseen, ignore)


def digests(data_dir):
    """Return the SHA-256 of every file that was made; only the bookkeeping may hold times.

    The manifest's last column says when a file was fetched: that alone is left out.
    """
    return {
        str(path.relative_to(data_dir)): hashlib.sha256(without_times(path)).hexdigest()
        for path in sorted(data_dir.rglob("*"))
        if path.is_file() and ".stamps" not in path.parts
    }


def without_times(path):
    if path.name != "manifest.csv":
        return path.read_bytes()
    return read_manifest(path).drop(columns="Fetched").to_csv().encode()


def prepare_data(cwd, *words):
    """Run the tool in a folder."""
    return run_tool("prepare_data", *words, cwd=cwd)


@pytest.fixture(scope="module")
def prepared(tiny_release, tmp_path_factory):
    """The tiny release, prepared; not to be changed."""
    data_dir = tmp_path_factory.mktemp("prepared") / "tiny"
    request = ask_for_folder(data_dir, tiny_release)
    assert prepare(request) == 9
    return request


def test_every_part_becomes_a_coco_file_whose_annotations_are_right(prepared):
    data_dir = prepared.data.dir
    for part in PARTS:
        subset, path = load(data_dir / "subset", part), coco_path(data_dir, part)
        converted = read_converted(path)
        assert converted.num_images > 0
        assert verify(path, subset, data_dir, 10_000) == converted.num_annotations
    assert json.loads((data_dir / "audit.json").read_text())["train_parts"] == ["train"]


def test_a_second_run_does_nothing(prepared):
    times = {path: path.stat().st_mtime_ns for path in prepared.data.dir.rglob("*")}
    assert prepare(prepared) == 0  # stages that ran
    lock = prepared.data.dir / ".stamps" / "lock"
    assert {p: t for p, t in times.items() if p.stat().st_mtime_ns != t}.keys() <= {lock}


def test_two_preparations_are_the_same_bytes_whatever_their_workers_and_folder(
    prepared, tiny_release, tmp_path
):
    first = digests(prepared.data.dir)
    request = ask_for_folder(tmp_path / "other", tiny_release, "workers=2")
    prepare(request)
    assert digests(request.data.dir) == first
    forced = ask_for_folder(tmp_path / "other", tiny_release, "force=true")
    assert prepare(forced) == 9
    assert digests(request.data.dir) == first


def test_what_was_damaged_or_removed_is_made_again(prepared, tiny_release, tmp_path):
    data_dir = tmp_path / "copy"
    shutil.copytree(prepared.data.dir, data_dir)
    request = ask_for_folder(data_dir, tiny_release)
    first = digests(data_dir)
    coco_path(data_dir, "train").write_text("{")
    assert prepare(request) > 0
    assert digests(data_dir) == first
    next((data_dir / "images" / "train").glob("*.jpg")).unlink()
    (data_dir / "subset" / "test.json").unlink()
    prepare(request)
    assert digests(data_dir) == first
    shutil.rmtree(data_dir / ".stamps")  # with it goes what is known of where files came from
    with refused(Kind.FOREIGN, about="test.json"):
        prepare(request)
    prepare(ask_for_folder(data_dir, tiny_release, "force=true"))
    assert digests(data_dir) | {"manifest.csv": first["manifest.csv"]} == first


def test_other_choices_are_made_anew_and_old_parts_do_not_stay(prepared, tiny_release, tmp_path):
    data_dir = tmp_path / "copy"
    shutil.copytree(prepared.data.dir, data_dir)
    words = ["data.splits=[train]", "data.classes=[Car]"]
    before = digests(data_dir)
    for other in (words, ["data.name=other", "d2={}"]):
        with refused(Kind.MISMATCH, about=data_dir / "coco"):
            prepare(ask_for_folder(data_dir, tiny_release, *other))
    assert digests(data_dir) == before
    prepare(ask_for_folder(data_dir, tiny_release, *words, "force=true"))
    assert sorted(path.name for path in (data_dir / "coco").iterdir()) == ["train.json"]
    assert not list((data_dir / "subset").glob("test*"))
    names = [c["name"] for c in coco_file.read_head(coco_path(data_dir, "train"))["categories"]]
    assert names == ["Car"]


def test_a_folder_may_be_given_as_a_url_and_its_changes_are_seen_too(
    prepared, tiny_release, tmp_path
):
    request = ask_for_folder(tmp_path / "tiny", f"file://{tiny_release}")
    prepare(request)
    assert digests(request.data.dir) == digests(prepared.data.dir)
    read = [
        {path for path in stage.inputs() if path.is_relative_to(tiny_release)}
        for asked in (request, prepared)
        for stage in stages(asked)[:2]
    ]
    assert read[:2] == read[2:] and all(read)
    with refused(Kind.ABSENT, key="data.source", about="file:///gone/openimages"):
        ask_for_folder(tmp_path / "tiny", "file:///gone")


def test_one_split_can_be_cut_into_parts(tiny_release, tmp_path):
    words = ["data.splits=[train]", "data.shares={train: 0.5, validation: 0.5}"]
    request = ask_for_folder(tmp_path / "cut", tiny_release, *words)
    prepare(request)
    ids = [
        {
            image["open_images_id"]
            for image in coco_file.read_records(coco_path(request.data.dir, part), "images")
        }
        for part in ("train", "validation")
    ]
    assert ids[0] and ids[1] and not ids[0] & ids[1]


def test_the_plan_writes_no_file_and_agrees_with_what_is_then_done(
    prepared, tiny_release, tmp_path
):
    request = ask_for_folder(tmp_path / "planned", tiny_release)
    plan = make_plan(request)
    assert not request.data.dir.exists()
    assert not any(done for _, done in plan.stages)
    manifest = read_manifest(prepared.data.dir / "manifest.csv")
    present = manifest[manifest["State"] == "present"]
    assert sum(need.images.num_bytes for need in plan.splits) == (
        present.query("Kind == 'image'")["Bytes"].sum()
    )
    num_missing = sum(need.images.num_absent + need.masks.num_missing for need in plan.splits)
    assert num_missing == len(manifest) - len(present)
    again = make_plan(prepared)
    assert all(done for _, done in again.stages)
    assert again.parts == plan.parts


def test_after_a_run_that_failed_the_plan_is_what_is_left_and_the_run_does_it(
    prepared, tiny_release, tmp_path
):
    """Half of the zips and of the images are refused at first."""
    is_open = False

    def faults(query, chance):
        is_refused = re.search("masks-[0-9].zip|/[89a-f][^/]*jpg", query.path) and not is_open
        return Fault(403) if is_refused else None

    with serve(tiny_release, faults) as server:
        request = ask_for_folder(tmp_path / "tiny", server.url, "retry_failed=true")
        strict = ask_for_folder(tmp_path / "tiny", server.url, "max_missing=0")
        with refused(Kind.TOO_MANY, key="max_missing"):
            prepare(strict)
        is_open = True
        plan = make_plan(request)
        num_before = len(server.log)
        prepare(request)
        asked = [line for line in server.log[num_before:] if line.method == "GET"]
    came = sum(line.num_bytes for line in asked if line.path.endswith(".zip"))
    assert came == sum(need.masks.num_bytes for need in plan.splits) > 0
    images = [line for line in asked if line.path.endswith(".jpg")]
    assert len(images) == sum(need.images.num_images for need in plan.splits) > 0
    assert digests(request.data.dir / "masks") == digests(prepared.data.dir / "masks")
    assert not any(need.masks.num_masks for need in make_plan(request).splits)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(403), Kind.REFUSED),
        (Fault(404), Kind.ABSENT),
        (Fault(garbage=b""), Kind.UNREACHABLE),
    ],
)
def test_a_server_without_tables_is_named(tiny_release, tmp_path, fault, kind):
    with serve(tiny_release, lambda query, chance: fault) as server:
        with refused(kind, about=f"{server.url}/openimages/"):
            prepare(ask_for_folder(tmp_path / "x", server.url))


def test_an_unknown_class_gets_near_matches_and_nothing_is_left_behind(tiny_release, tmp_path):
    request = ask_for_folder(tmp_path / "x", tiny_release, "data.classes=[Trafic light]")
    with refused(Kind.SETTING, key="data.classes", about="Traffic light"):
        prepare(request)
    assert digests(request.data.dir) == {}


def damaged_copy(tiny_release, tmp_path):
    source = tmp_path / "release"
    shutil.copytree(tiny_release, source)
    return source


def test_corrupt_images_and_masks_are_listed_by_name_and_the_rest_goes_on(
    prepared, tiny_release, tmp_path
):
    source = damaged_copy(tiny_release, tmp_path)
    image = next(coco_file.read_records(coco_path(prepared.data.dir, "train"), "images"))
    jpg_path = source / "open-images-dataset" / image["file_name"]
    jpg_path.write_bytes(jpg_path.read_bytes()[:-500])
    rows = load(prepared.data.dir / "subset", "train").instances
    row = rows[(rows["Ignore"] == "") & (rows["ImageID"] != image["open_images_id"])].iloc[0]
    zip_path = source / "openimages" / release.V5.mask_zip("train", row.ImageID[0]).path
    data = read_mask_file(prepared.data.dir / "masks", "train", row.ImageID, row.MaskPath)
    rewrite_entry(zip_path, row.MaskPath, data[: len(data) // 2])
    request = ask_for_folder(tmp_path / "data", source)
    prepare(request)
    manifest = read_manifest(request.data.dir / "manifest.csv").set_index("Path")
    assert manifest.loc[Path(image["file_name"]).name, "State"] == "corrupt"
    assert manifest.loc[row.MaskPath, "State"] == "corrupt"
    converted = read_converted(coco_path(request.data.dir, "train"))
    assert image["open_images_id"] in [entry["open_images_id"] for entry in converted.left_out]
    assert converted.ignored["missing mask"] >= 1
    strict = ask_for_folder(tmp_path / "strict", source, "max_missing=0")
    with refused(Kind.TOO_MANY, key="max_missing", about="manifest.csv"):
        prepare(strict)


def rewrite_entry(zip_path, name, data):
    with zipfile.ZipFile(zip_path) as old:
        entries = {entry: old.read(entry) for entry in old.namelist()}
    with zipfile.ZipFile(zip_path, "w") as new:
        for entry, content in entries.items():
            new.writestr(entry, data if entry == name else content)


def test_of_the_real_images_all_317_masks_are_accounted_for(street_mirror, tmp_path):
    request = ask_for_folder(tmp_path / "street", street_mirror)
    prepare(request)
    num_masks, reasons = 0, {}
    for split in release.SPLITS:
        subset = load(request.data.dir / "subset", split)
        path = coco_path(request.data.dir, split)
        targets = {
            a["mask_path"] for a in coco_file.read_records(path, "annotations") if not a["iscrowd"]
        }
        ignored = {
            a["mask_path"]: a["ignore_reason"] for a in coco_file.read_records(path, "annotations")
        }
        wanted = set(subset.recipe["settings"]["classes"])
        labels = set(subset.instances["LabelName"])
        assert wanted == {"Person", "Traffic light", "Car", "Traffic sign"}
        table = release.V5.mask_csv(split)
        for frame in read_rows(street_mirror / "openimages" / table.path, table.columns):
            num_masks += len(frame)
            for mask_path, label in zip(frame["MaskPath"], frame["LabelName"], strict=True):
                if mask_path in targets:
                    reason = "target"
                elif mask_path in ignored:
                    reason = ignored[mask_path]
                else:
                    assert label not in labels
                    reason = "another class"
                reasons[reason] = reasons.get(reason, 0) + 1
        assert (
            verify(path, subset, request.data.dir, 10_000) == read_converted(path).num_annotations
        )
    assert num_masks == 317
    assert reasons == {"target": 252, "another class": 65}


def test_mini_from_nothing_to_the_next_command(tmp_path):
    first = prepare_data(tmp_path, "data=mini", *TINY)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    for words in (
        "draw: done",
        "Training targets",
        "Traffic light",
        "tools/train_net.py +experiment",
    ):
        assert words in first.stdout
    assert "\x1b" not in first.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    *_, ending = first.stdout.partition(" files (")
    for name in ("manifest.csv", "credits.csv", "image_list.txt", "audit.json", "coco/train.json"):
        assert f"data/mini/{name}" in ending
    assert "Masks of training targets" not in first.stdout
    second = prepare_data(tmp_path, "data=mini", "show_audit=true", *TINY)
    assert second.returncode == 0
    assert (
        "Everything is done already" in second.stdout
        and "Masks of training targets" in second.stdout
    )


def test_an_error_that_the_audit_found_ends_it_with_exit_code_1_each_time(tmp_path):
    words = ["data=mini", *TINY, "data.classes=[Car,Tree]", "workers=1"]
    for _ in range(2):
        done = prepare_data(tmp_path, *words)
        assert done.returncode == 1
        assert "COCO files" in done.stdout
        line, remedy = done.stderr.strip().splitlines()
        assert line.startswith("error: data/mini/audit.json ") and "class Tree" in line
        assert "max_errors" in remedy
    assert "Everything is done already" in done.stdout
    assert prepare_data(tmp_path, *words, "max_errors=1").returncode == 0


def test_no_name_is_split_and_nothing_is_cut_off_in_80_columns(prepared, monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(screen, "console", Console(file=file, width=80))
    report = read_audit(prepared.data.dir)
    for table in (*audit_tables.tables(report), *plan_tables(make_plan(prepared))):
        file.truncate(file.seek(0))
        screen.draw(table)
        title, *lines = file.getvalue().splitlines()
        assert title == table.title
        for row in table.rows:
            assert not [word for word in row[0].split() if word not in file.getvalue()]
        if not table.is_prose:
            assert max(map(len, lines)) <= 80
            words = [word for column in table.columns for word in column.split()]
            assert not [word for word in words if word not in file.getvalue()]


@pytest.mark.parametrize("words", [["data=mini", "workers=1", *TINY], ["--cfg", "job"]])
def test_it_ends_quietly_when_nobody_reads_it(tmp_path, words):
    command = [sys.executable, str(TOOL), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 141)


def test_a_mistake_ends_with_exit_code_1_and_a_line_that_names_it(tmp_path):
    for words, name in [
        (["data.clases=[Car]"], "data.classes"),
        (["data=mni"], "mini"),
        (["data=folder", "data.name=x", "data.source=gone"], "gone/openimages"),
    ]:
        done = prepare_data(tmp_path, *words)
        assert done.returncode == 1
        line, *remedy = done.stderr.strip().splitlines()
        assert line.startswith("error: ") and name in line and len(remedy) <= 1
    assert list(tmp_path.iterdir()) == []


def start_tool(cwd, *words):
    return subprocess.Popen(
        [sys.executable, str(TOOL), *words],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_when(process, is_time):
    """Kill the process with SIGKILL at a moment; say whether it was still running."""
    deadline = time.monotonic() + 300
    try:
        while process.poll() is None and not is_time():
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.002)
        return process.poll() is None
    finally:
        process.kill()
        process.wait()


def count_kills(tmp_path, tiny_release, moments):
    """Start the tool again and again and kill it each time; then let it finish."""
    words = [
        "data=folder",
        "data.name=folder",
        f"data.source={tiny_release}",
        "data.dir=tiny",
        "max_missing=0.5",
    ]
    num_killed = 0
    for is_time in moments:
        num_killed += kill_when(start_tool(tmp_path, *words), is_time)
    done = prepare_data(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    return num_killed


def test_a_run_killed_in_its_stages_ends_with_the_same_bytes(prepared, tiny_release, tmp_path):
    data_dir = tmp_path / "tiny"
    moments = [
        lambda: (data_dir / "subset" / "train.images.parquet").exists(),
        lambda: any(data_dir.glob("images/*/*.jpg")),
        lambda: any(data_dir.glob(".stamps/chunks-*")) or (data_dir / "coco").exists(),
    ]
    assert count_kills(tmp_path, tiny_release, moments) >= 1
    assert digests(data_dir) == digests(prepared.data.dir)


def starts_processes(process, data_dir):
    """Return True once a worker has been started, which then imports for a while."""
    children = psutil.Process(process.pid).children()
    return any("spawn_main" in " ".join(command_of(child)) for child in children)


def command_of(process):
    try:
        return process.cmdline()
    except psutil.Error:  # it ended meanwhile
        return []


def draws(process, data_dir):
    """Return True once an image came from a worker."""
    return any(data_dir.glob(".part-release/*/train/*.jpg"))


@pytest.mark.parametrize("is_time", [starts_processes, draws])
def test_ctrl_c_while_several_processes_work_is_one_line(tmp_path, is_time):
    """A terminal sends it to all of them."""
    words = ["data=mini", "data.dir=mini", "workers=2", "data.synthetic.num_images.train=3000"]
    process = subprocess.Popen(
        [sys.executable, str(TOOL), *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has Ctrl-C switched off, and so would the tool.
        preexec_fn=lambda: (os.setsid(), signal.signal(signal.SIGINT, signal.SIG_DFL)),
    )
    try:
        wait_until(lambda: is_time(process, tmp_path / "mini"), process)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=120)[1]
    finally:
        process.kill()
    assert (process.returncode, said) == (130, "stopped: the same command continues from here\n")
    with pytest.raises(ProcessLookupError):  # nobody is left
        for _ in range(600):
            os.killpg(process.pid, 0)
            time.sleep(0.1)


def after(seconds):
    """Return a function that is true when so many seconds have passed since it was first called."""
    first = []

    def has_passed():
        first.append(time.monotonic())
        return first[-1] - first[0] > seconds

    return has_passed


@pytest.mark.slow
def test_a_run_killed_at_many_moments_ends_with_the_same_bytes(prepared, tiny_release, tmp_path):
    whole = time.monotonic()
    words = ["data=folder", "data.name=folder", f"data.source={tiny_release}", "max_missing=0.5"]
    start_tool(tmp_path, *words).wait()
    whole = time.monotonic() - whole
    moments = [after(whole * number / 30) for number in range(8, 30)]
    count_kills(tmp_path, tiny_release, moments)
    assert digests(tmp_path / "tiny") == digests(prepared.data.dir)


def test_masks_have_the_size_of_their_images(prepared):
    path = coco_path(prepared.data.dir, "train")
    sizes = {i["id"]: [i["height"], i["width"]] for i in coco_file.read_records(path, "images")}
    for annotation in coco_file.read_records(path, "annotations"):
        assert annotation["segmentation"]["size"] == sizes[annotation["image_id"]]
        assert masks.decode(annotation["segmentation"]).any()
