import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from raising import refused

from oiv5_d2.preparation import stages
from oiv5_d2.preparation.stages import Stage
from oiv5_d2.problems import Kind, Remedy


def ignore(_):
    """Stand where a progress bar would."""


@pytest.fixture
def stage(tmp_path):
    """A stage that copies a file."""
    (tmp_path / "in").write_text("one")

    def run(advance):
        (tmp_path / "out").write_text((tmp_path / "in").read_text())
        advance(1)

    return Stage(
        name="copy it",
        settings={"how": ("plainly", 1)},
        inputs=lambda: [tmp_path / "in"],
        outputs=lambda: [tmp_path / "out"],
        count=lambda: {"files": 1},
        run=run,
    )


def test_a_stage_is_done_once_it_ran_and_not_before(stage, tmp_path):
    assert not stages.is_done(stage, tmp_path)
    stages.run(stage, tmp_path, ignore)
    assert stages.is_done(stage, tmp_path)


@pytest.mark.parametrize("name", ["in", "out"])
def test_a_changed_or_absent_file_undoes_it(stage, tmp_path, name):
    stages.run(stage, tmp_path, ignore)
    (tmp_path / name).write_text("other")
    assert not stages.is_done(stage, tmp_path)
    stages.run(stage, tmp_path, ignore)
    (tmp_path / name).unlink()
    assert not stages.is_done(stage, tmp_path)


def test_other_settings_undo_it(stage, tmp_path):
    stages.run(stage, tmp_path, ignore)
    other = Stage(**{**vars(stage), "settings": {"how": ("plainly", 2)}})
    assert not stages.is_done(other, tmp_path)


def test_a_stage_that_failed_is_not_done_even_if_it_was_before(stage, tmp_path):
    stages.run(stage, tmp_path, ignore)

    def fail(_):
        raise ValueError("no")

    with pytest.raises(ValueError):
        stages.run(Stage(**{**vars(stage), "run": fail}), tmp_path, ignore)
    assert not stages.is_done(stage, tmp_path)


def test_an_input_that_changes_during_the_run_undoes_it(stage, tmp_path):
    def run(advance):
        stage.run(advance)
        (tmp_path / "in").write_text("three")

    changing = Stage(**{**vars(stage), "run": run})
    stages.run(changing, tmp_path, ignore)
    assert not stages.is_done(changing, tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe\x00"])
def test_a_damaged_stamp_is_no_stamp(stage, tmp_path, content):
    stages.run(stage, tmp_path, ignore)
    (stamp,) = (tmp_path / ".stamps").glob("*.json")
    stamp.write_bytes(content)
    assert not stages.is_done(stage, tmp_path)


def test_a_folder_counts_as_changed_when_a_file_comes_or_goes(stage, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("a")
    os.utime(folder, ns=(1, 1))
    with_folder = Stage(**{**vars(stage), "inputs": lambda: [folder]})
    stages.run(with_folder, tmp_path, ignore)
    assert stages.is_done(with_folder, tmp_path)
    (folder / "a").unlink()
    assert not stages.is_done(with_folder, tmp_path)


HOLD = """
import sys, time
from pathlib import Path
from oiv5_d2.preparation.stages import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_two_runs_do_not_share_a_folder_and_the_second_is_told_who_is_there(tmp_path, holder):
    with refused(Kind.BUSY, remedy=Remedy.WAIT, about=f"process {holder.pid}"):
        with stages.locked(tmp_path):
            pass


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / ".stamps" / "lock").read_text()
    with stages.locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".stamps" / "lock").read_text()
    with stages.locked(Path(tmp_path)):
        pass


@pytest.mark.parametrize("name", ["file", "link", "x" * 300])
def test_a_path_that_can_be_no_folder_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "deep")
    with refused(Kind.REFUSED, key="data.dir", about=name), stages.locked(tmp_path / name):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can act as another user")
def test_a_folder_that_cannot_be_written_to_can_be_looked_at():
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    try:
        os.seteuid(65534)  # nobody: the superuser may write anywhere
        with stages.locked(folder / "data"):
            pass
    finally:
        os.seteuid(0)
        folder.chmod(0o755)
        folder.rmdir()
