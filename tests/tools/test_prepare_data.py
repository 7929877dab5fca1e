"""The tool as people run it, on a tiny synthetic release."""

import dataclasses
import hashlib
import importlib.util
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
from hydra import compose, initialize_config_dir
from processes import wait_until
from rich.console import Console
from servers import Fault, serve

from oiv5_d2.acquisition.manifest import read_manifest
from oiv5_d2.acquisition.shards import read_mask_file
from oiv5_d2.console import screen
from oiv5_d2.conversion import coco_file, masks
from oiv5_d2.conversion.convert import coco_path, read_converted
from oiv5_d2.conversion.verify import verify
from oiv5_d2.openimages import release
from oiv5_d2.openimages.readers import read_rows
from oiv5_d2.preparation.stages import locked
from oiv5_d2.selection.subset import load

# pycocotools hands NumPy an array type of before NumPy 2; only a warning, and not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "prepare_data.py"
PARTS = "train", "validation", "test"
TINY = [
    "data.synthetic.num_images={train: 8, validation: 4, test: 3}",
    "data.synthetic.size=[96,128]",
    "max_missing=0.5",
]


@pytest.fixture(scope="module")
def tool():
    """The script as a module, to call its parts without starting a process each time."""
    spec = importlib.util.spec_from_file_location("prepare_data", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ask(tool, *words):
    """Return the request that these command-line words make."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        run = compose("prepare", ["workers=1", *words])
    return tool.read_request(run)


def ask_for_folder(tool, data_dir, source, *words):
    where = [f"data.source={source}", f"data.dir={data_dir}"]
    # Of a dozen pictures, the one that is missing on purpose is a large share.
    return ask(tool, "data=folder", *where, "max_missing=0.5", *words)


def prepare(tool, request):
    tool.check(request)
    with locked(request.data.dir):
        return tool.run_stages(request)


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


def run_tool(cwd, *words):
    """Start the tool as people do, and wait for it."""
    return subprocess.run(
        [sys.executable, str(TOOL), *words], cwd=cwd, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def prepared(tool, tiny_release, tmp_path_factory):
    """The tiny release, prepared; not to be changed."""
    data_dir = tmp_path_factory.mktemp("prepared") / "tiny"
    request = ask_for_folder(tool, data_dir, tiny_release)
    assert prepare(tool, request) == 9
    return request


def test_every_part_becomes_a_coco_file_whose_annotations_are_right(prepared):
    data_dir = prepared.data.dir
    for part in PARTS:
        subset, path = load(data_dir / "subset", part), coco_path(data_dir, part)
        converted = read_converted(path)
        assert converted.num_images > 0
        assert verify(path, subset, data_dir, 10_000) == converted.num_annotations
    assert json.loads((data_dir / "audit.json").read_text())["train_parts"] == ["train"]


def test_a_second_run_does_nothing(tool, prepared):
    times = {path: path.stat().st_mtime_ns for path in prepared.data.dir.rglob("*")}
    assert prepare(tool, prepared) == 0  # stages that ran
    lock = prepared.data.dir / ".stamps" / "lock"
    assert {p: t for p, t in times.items() if p.stat().st_mtime_ns != t}.keys() <= {lock}


def test_two_preparations_are_the_same_bytes_whatever_their_workers_and_folder(
    tool, prepared, tiny_release, tmp_path
):
    first = digests(prepared.data.dir)
    request = ask_for_folder(tool, tmp_path / "other", tiny_release, "workers=2")
    prepare(tool, request)
    assert digests(request.data.dir) == first
    forced = ask_for_folder(tool, tmp_path / "other", tiny_release, "force=true")
    assert prepare(tool, forced) == 9
    assert digests(request.data.dir) == first


def test_what_was_damaged_or_removed_is_made_again(tool, prepared, tiny_release, tmp_path):
    data_dir = tmp_path / "copy"
    shutil.copytree(prepared.data.dir, data_dir)
    request = ask_for_folder(tool, data_dir, tiny_release)
    first = digests(data_dir)
    coco_path(data_dir, "train").write_text("{")
    assert prepare(tool, request) > 0
    assert digests(data_dir) == first
    next((data_dir / "images" / "train").glob("*.jpg")).unlink()
    (data_dir / "subset" / "test.json").unlink()
    prepare(tool, request)
    assert digests(data_dir) == first
    shutil.rmtree(data_dir / ".stamps")
    prepare(tool, request)
    assert digests(data_dir) == first


def test_other_choices_are_made_anew_and_old_parts_do_not_stay(
    tool, prepared, tiny_release, tmp_path
):
    data_dir = tmp_path / "copy"
    shutil.copytree(prepared.data.dir, data_dir)
    request = ask_for_folder(
        tool, data_dir, tiny_release, "data.splits=[train]", "data.classes=[Car]"
    )
    prepare(tool, request)
    assert sorted(path.name for path in (data_dir / "coco").iterdir()) == ["train.json"]
    assert not list((data_dir / "subset").glob("test*"))
    names = [c["name"] for c in coco_file.read_head(coco_path(data_dir, "train"))["categories"]]
    assert names == ["Car"]


def test_a_folder_may_be_told_as_a_url_and_its_changes_are_seen_too(
    tool, prepared, tiny_release, tmp_path
):
    request = ask_for_folder(tool, tmp_path / "tiny", f"file://{tiny_release}")
    prepare(tool, request)
    assert digests(request.data.dir) == digests(prepared.data.dir)
    read = [
        {path for path in stage.inputs() if path.is_relative_to(tiny_release)}
        for asked in (request, prepared)
        for stage in tool.stages(asked)[:2]
    ]
    assert read[:2] == read[2:] and all(read)
    with pytest.raises(FileNotFoundError, match="file:///gone/openimages: there is no such folder"):
        tool.check(ask_for_folder(tool, tmp_path / "tiny", "file:///gone"))


def test_one_split_can_be_cut_into_parts(tool, tiny_release, tmp_path):
    words = ["data.splits=[train]", "data.shares={train: 0.5, validation: 0.5}"]
    request = ask_for_folder(tool, tmp_path / "cut", tiny_release, *words)
    prepare(tool, request)
    ids = [
        {
            image["image_id"]
            for image in coco_file.read_records(coco_path(request.data.dir, part), "images")
        }
        for part in ("train", "validation")
    ]
    assert ids[0] and ids[1] and not ids[0] & ids[1]


def test_names_follow_data_name(tool):
    for config, words in [("prepare", []), ("train", [])]:
        with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            if config == "train":
                pytest.importorskip("oiv5_d2.training.config").store_defaults()
            run = compose(config, ["data=traffic", "data.source=/x", "data.name=street", *words])
        assert run.data.dir == "data/street"
        assert list(run.d2.DATASETS.TRAIN) == ["street_train"]
        assert list(run.d2.DATASETS.TEST) == ["street_validation"]
        assert list(run.data.classes) == ["Person", "Traffic light", "Car", "Traffic sign"]


@pytest.mark.parametrize("name", ["mini", "traffic", "folder"])
def test_every_data_set_composes_and_is_typed(tool, name):
    request = ask(tool, f"data={name}", "data.source=/x")
    assert request.data.parts == list(PARTS)
    assert request.train_parts == ["train"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.limit.per_class=many"], r"data.limit.per_class: .*'many'"),
        (["data.classes=Person"], r"data.classes: it is a list: give data.classes=\[Person\]"),
        (["data.id_prefixes=0"], r"data.id_prefixes: it is a list: give data.id_prefixes=\[0\]"),
        (["rate=fast"], "rate=fast: .*such as 5000000, 500kB or 5MB"),
        (["data.exclude=IsInside"], "data.exclude: "),
        (["workers=two"], "workers: .*'two'"),
        (["data=folder"], "^data.source is not set: give a folder or URL .*data.source=/path$"),
        (["data=open_images"], "^data.source is not set: .*; data.name is not set: .*=street$"),
        (["data.min_predicted_iou=high"], "data.min_predicted_iou: "),
    ],
)
def test_a_value_of_another_type_is_one_line_that_names_the_key(tool, words, message):
    with pytest.raises(ValueError, match=message) as caught:
        ask(tool, *words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["workers=0"], "workers=0: at least 1"),
        (["max_missing=2"], "max_missing=2.0: a share"),
        (["rate=0"], "rate=0: it has to be above 0"),
        (["rate=-5"], "rate=-5: it has to be above 0"),
        (["verify_sample=-1"], "verify_sample=-1"),
        (["max_errors=-1"], "max_errors=-1"),
        (["data.synthetic.size=[3]"], r"data.synthetic.size=\[3\]"),
        (["data=folder", "data.source=data/gone"], "data/gone/openimages: .*no such.*data=mini"),
        (["data=folder", "data.source='gs://me:secret@b'"], "^the address of gs://b holds"),
        (["transfer.tries=0"], "transfer.tries=0"),
        (["data.image_ids=/nope"], "^data.image_ids=/nope: there is no such file"),
        (["data.annotations=ftp://x"], "^data.annotations is given beside data.source, .*=null"),
        (["data=folder", "data.source=/x", "data.images=/y"], "^data.images is given beside"),
        (["data=traffic", "data.images=ftp://x"], "^'ftp://x' is no address .*s3://bucket"),
    ],
)
def test_a_setting_without_meaning_is_refused_before_anything_is_done(tool, words, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tool.check(ask(tool, *words))


def test_the_real_buckets_beside_a_source_are_only_the_default(tool, tiny_release):
    tool.check(ask(tool, "data=traffic", f"data.source={tiny_release}"))
    tool.check(ask(tool, "data=traffic"))


def test_rates_may_have_a_unit(tool):
    request = ask(tool, "rate=2.5MB", "transfer.max_bytes_per_second=500kB")
    assert (request.rate, request.transfer.max_bytes_per_second) == (2_500_000, 500_000)
    request = ask(tool, "rate=1e6", "transfer.max_bytes_per_second=7")
    assert (request.rate, request.transfer.max_bytes_per_second) == (1_000_000, 7)


def test_a_real_release_is_never_drawn_over(tool, tiny_release, tmp_path):
    request = ask(tool, "data=mini", f"data.source={tiny_release}", f"data.dir={tmp_path / 'm'}")
    assert "draw" not in [stage.name for stage in tool.stages(request)]


def test_the_plan_counts_without_writing_and_agrees_with_what_is_then_done(
    tool, prepared, tiny_release, tmp_path
):
    request = ask_for_folder(tool, tmp_path / "planned", tiny_release)
    plan = tool.make_plan(request)
    assert not request.data.dir.exists()
    assert not any(done for _, done in plan.stages)
    manifest = tool.read_manifest(prepared.data.dir / "manifest.csv")
    present = manifest[manifest["State"] == "present"]
    num_bytes = present.groupby("Kind")["Bytes"].sum()
    assert plan.image_bytes == num_bytes["image"]
    assert sum(need.wanted_bytes for need in plan.zips) == num_bytes["mask"]
    num_absent = sum(n.num_absent for n in plan.images) + sum(n.plan.num_absent for n in plan.zips)
    assert num_absent == len(manifest) - len(present)
    again = tool.make_plan(prepared)
    assert all(done for _, done in again.stages)
    assert again.needs == plan.needs


def test_after_a_run_that_was_cut_short_the_plan_is_what_is_left_and_the_run_does_it(
    tool, prepared, tiny_release, tmp_path
):
    """Half of the zips and of the pictures are refused at first."""
    is_open = False

    def faults(query, chance):
        is_refused = re.search("masks-[0-9].zip|/[89a-f][^/]*jpg", query.path) and not is_open
        return Fault(403) if is_refused else None

    with serve(tiny_release, faults) as server:
        words = ["transfer.tries=1", "retry_failed=true"]
        request = ask_for_folder(tool, tmp_path / "tiny", server.url, *words)
        with pytest.raises(ValueError, match="could not be had"):
            prepare(tool, dataclasses.replace(request, max_missing=0.0))
        is_open = True
        plan = tool.make_plan(request)
        num_before = len(server.log)
        prepare(tool, request)
        asked = [line for line in server.log[num_before:] if line.method == "GET"]
    assert plan.zips and {need.digit for need in plan.zips} <= set("0123456789")
    came = sum(line.num_bytes for line in asked if line.path.endswith(".zip"))
    assert came == plan.mask_bytes
    pictures = [line for line in asked if line.path.endswith(".jpg")]
    assert len(pictures) == sum(need.num_files for need in plan.images)
    assert sum(line.num_bytes for line in pictures if line.status == 200) == plan.image_bytes
    assert digests(request.data.dir / "masks") == digests(prepared.data.dir / "masks")
    assert not tool.make_plan(request).zips


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (
            Fault(403),
            "403 Forbidden. Is data.source, .* transfer.sign_s3=true, and a key that may read it$",
        ),
        (Fault(garbage=b""), "cut before an answer. Is data.source, .* right address?"),
        (Fault(302, headers=(("Location", "http://x.invalid/"),)), "follow_redirects$"),
    ],
)
def test_a_server_that_gives_no_table_is_named_once_and_with_a_remedy(
    tool, tiny_release, tmp_path, fault, remedy
):
    with serve(tiny_release, lambda query, chance: fault) as server:
        request = ask_for_folder(tool, tmp_path / "x", server.url, "transfer.tries=1")
        with pytest.raises(OSError, match=remedy) as caught:
            prepare(tool, request)
    assert str(caught.value).count(server.url) == 1


def test_an_unknown_class_gets_near_matches_and_nothing_is_left_behind(
    tool, tiny_release, tmp_path
):
    request = ask_for_folder(tool, tmp_path / "x", tiny_release, "data.classes=[Trafic light]")
    with pytest.raises(ValueError, match="Traffic light"):
        prepare(tool, request)
    assert digests(request.data.dir) == {}


def damaged_copy(tiny_release, tmp_path):
    source = tmp_path / "release"
    shutil.copytree(tiny_release, source)
    return source


def test_corrupt_pictures_and_masks_are_listed_by_name_and_the_rest_goes_on(
    tool, prepared, tiny_release, tmp_path
):
    source = damaged_copy(tiny_release, tmp_path)
    image = next(coco_file.read_records(coco_path(prepared.data.dir, "train"), "images"))
    jpg_path = source / "open-images-dataset" / image["file_name"]
    jpg_path.write_bytes(jpg_path.read_bytes()[:-500])
    rows = load(prepared.data.dir / "subset", "train").instances
    row = rows[(rows["Ignore"] == "") & (rows["ImageID"] != image["image_id"])].iloc[0]
    zip_path = source / "openimages" / release.V5.mask_zip("train", row.ImageID[0]).path
    data = read_mask_file(prepared.data.dir / "masks", "train", row.ImageID, row.MaskPath)
    rewrite_entry(zip_path, row.MaskPath, data[: len(data) // 2])
    request = ask_for_folder(tool, tmp_path / "data", source)
    prepare(tool, request)
    manifest = tool.read_manifest(request.data.dir / "manifest.csv").set_index("Path")
    assert manifest.loc[Path(image["file_name"]).name, "State"] == "corrupt"
    assert manifest.loc[row.MaskPath, "State"] == "corrupt"
    converted = read_converted(coco_path(request.data.dir, "train"))
    assert image["image_id"] in [entry["image_id"] for entry in converted.left_out]
    assert converted.ignored["missing mask"] >= 1
    strict = ask_for_folder(tool, tmp_path / "strict", source, "max_missing=0")
    with pytest.raises(ValueError, match=r"manifest\.csv"):
        prepare(tool, strict)


def rewrite_entry(zip_path, name, data):
    with zipfile.ZipFile(zip_path) as old:
        entries = {entry: old.read(entry) for entry in old.namelist()}
    with zipfile.ZipFile(zip_path, "w") as new:
        for entry, content in entries.items():
            new.writestr(entry, data if entry == name else content)


def test_the_real_pictures_all_317_masks_are_accounted_for(tool, street_mirror, tmp_path):
    request = ask_for_folder(tool, tmp_path / "street", street_mirror)
    prepare(tool, request)
    num_masks, reasons = 0, {}
    for split in release.SPLITS:
        subset = load(request.data.dir / "subset", split)
        path = coco_path(request.data.dir, split)
        learnt = {
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
                if mask_path in learnt:
                    reason = "learnt"
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
    assert reasons == {"learnt": 252, "another class": 65}


def test_mini_from_nothing_to_the_next_command(tmp_path):
    first = run_tool(tmp_path, "data=mini", *TINY)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    for words in (
        "draw: done",
        "Objects to learn",
        "Traffic light",
        "tools/train_net.py +experiment",
    ):
        assert words in first.stdout
    assert "\x1b" not in first.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    *_, ending = first.stdout.partition(" files: ")
    for name in ("manifest.csv", "credits.csv", "image_list.txt", "audit.json", "coco/train.json"):
        assert f"data/mini/{name}" in ending
    assert "Masks to learn" not in first.stdout
    second = run_tool(tmp_path, "data=mini", "show_audit=true", *TINY)
    assert second.returncode == 0
    assert "Everything is done already" in second.stdout and "Masks to learn" in second.stdout


def test_an_error_that_the_audit_found_is_one_line_and_exit_code_1_each_time(tmp_path):
    words = ["data=mini", *TINY, "data.classes=[Car,Tree]"]
    for _ in range(2):
        done = run_tool(tmp_path, *words)
        assert done.returncode == 1
        assert "COCO files" in done.stdout
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith("error: ") and "train: class Tree has no object to learn" in line
        assert "data/mini/audit.json" in line
    assert "Everything is done already" in done.stdout
    assert run_tool(tmp_path, *words, "max_errors=1").returncode == 0


def test_no_name_is_split_and_nothing_is_cut_off_in_80_columns(tool, prepared, monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(screen, "console", Console(file=file, width=80))
    report = tool.read_audit(prepared.data.dir)
    for table in (
        *tool.audit_tables.tables(report),
        *tool.tables.plan_tables(tool.make_plan(prepared)),
    ):
        file.truncate(file.seek(0))
        tool.draw(table)
        title, *lines = file.getvalue().splitlines()
        assert title == table.title
        assert max(map(len, lines)) <= 80
        for row in table.rows:
            assert not [word for word in row[0].split() if word not in file.getvalue()]
        if not table.is_prose:
            words = [word for column in table.columns for word in column.split()]
            assert not [word for word in words if word not in file.getvalue()]


@pytest.mark.parametrize("words", [["data=mini", *TINY], ["--cfg", "job"]])
def test_it_ends_quietly_when_nobody_reads_it(tmp_path, words):
    command = [sys.executable, str(TOOL), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 141)


def test_a_mistake_is_one_line_and_exit_code_1(tmp_path):
    for words, message in [
        (["data.clases=[Car]"], "data.classes"),
        (["data=mni"], "mini"),
        (["data=folder", "data.source=gone"], "gone/openimages: there is no such folder"),
    ]:
        done = run_tool(tmp_path, *words)
        assert done.returncode == 1
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith("error: ") and message in line
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
    words = ["data=folder", f"data.source={tiny_release}", "data.dir=tiny", "max_missing=0.5"]
    num_killed = 0
    for is_time in moments:
        num_killed += kill_when(start_tool(tmp_path, *words), is_time)
    done = run_tool(tmp_path, *words)
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
    """Tell whether the server that forks the workers is there, which then imports for a while."""
    children = psutil.Process(process.pid).children()
    return any("forkserver" in " ".join(told(child)) for child in children)


def told(process):
    try:
        return process.cmdline()
    except psutil.Error:  # it ended meanwhile
        return []


def draws(process, data_dir):
    """Tell whether a picture came from a worker."""
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
    assert (process.returncode, said) == (130, "stopped: the same command goes on from here\n")
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
    run_tool(tmp_path, "data=folder", f"data.source={tiny_release}", "max_missing=0.5")
    whole = time.monotonic() - whole
    moments = [after(whole * number / 30) for number in range(8, 30)]
    count_kills(tmp_path, tiny_release, moments)
    assert digests(tmp_path / "tiny") == digests(prepared.data.dir)


def test_masks_of_the_prepared_release_have_the_size_of_their_pictures(prepared):
    path = coco_path(prepared.data.dir, "train")
    sizes = {i["id"]: [i["height"], i["width"]] for i in coco_file.read_records(path, "images")}
    for annotation in coco_file.read_records(path, "annotations"):
        assert annotation["segmentation"]["size"] == sizes[annotation["image_id"]]
        assert masks.decode(annotation["segmentation"]).any()
