import json
import os
import subprocess
import sys

from oiv5_d2.runs import provenance


def test_the_command_is_as_one_would_type_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "tools" / "train_net.py"
    monkeypatch.setattr(
        sys, "argv", [str(script), "+experiment=quickstart", "d2.SOLVER.STEPS=[1, 2]"]
    )
    assert provenance.command() == (
        "python tools/train_net.py +experiment=quickstart 'd2.SOLVER.STEPS=[1, 2]'"
    )


def test_a_script_from_elsewhere_leaves_no_absolute_path(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "train_net.py"), "x=1"])
    assert provenance.command() == "python train_net.py x=1"


def test_the_commit_is_known_and_changes_are_seen(monkeypatch, tmp_path):
    def git(*words):
        identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    # Whatever holds the tests' folder, and whatever the user signs, hooks or excludes.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # a hook that runs the tests
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert provenance.git_state() == {"commit": None, "dirty": None}
    git("init")
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-m", "first")
    state = provenance.git_state()
    assert len(state["commit"]) == 40 and state["dirty"] is False
    (tmp_path / "file").write_text("b")
    assert provenance.git_state()["dirty"] is True


def test_the_record_says_which_detectron2_it_was():
    build = provenance.detectron2_build(is_compiled=False)
    assert build["name"] in provenance.DETECTRON2 and not build["compiled"]
    assert build["version"].startswith(provenance.detectron2_version())


def test_a_record_is_written_whole(tmp_path):
    provenance.write(tmp_path, {"b": 1, "a": [2]})
    assert json.loads((tmp_path / "run.json").read_text()) == {"a": [2], "b": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
