import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from PIL import Image

from oiv5_d2.conversion import coco_file

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "explore.py"


@pytest.fixture
def data_dir(tmp_path):
    """One image without annotation."""
    data_dir = tmp_path / "data" / "blocks"
    (data_dir / "images").mkdir(parents=True)
    Image.new("RGB", (20, 10), (200, 0, 0)).save(data_dir / "images" / "one.jpg")
    head = {"info": {}, "categories": [{"id": 1, "name": "Car"}]}
    image = {"id": 1, "file_name": "one.jpg", "height": 10, "width": 20, "open_images_id": "one"}
    coco_file.write(data_dir / "coco" / "train.json", head, [coco_file.dumps(image)], [])
    return data_dir


def test_the_page_is_served_until_ctrl_c_and_the_data_is_only_read(tmp_path, data_dir):
    data_dir.chmod(0o555)
    before = sorted(data_dir.rglob("*"))
    words = ["open=false", "port=0", f"cache={tmp_path}/cache", "data.name=blocks"]
    command = [sys.executable, str(TOOL), *words, f"data.dir={data_dir}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    tool = subprocess.Popen(
        command,
        **pipes,
        env=environment,
        cwd=tmp_path,
        # Ignored in what a shell runs in the background, this test included.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        said = (re.search(r"http://127\.0\.0\.1:\d+/", line) for line in tool.stdout)
        url = next(filter(None, said))
        with urlopen(url[0], timeout=60) as response:
            assert b"<title>blocks</title>" in response.read()
        tool.send_signal(signal.SIGINT)
        assert tool.wait(60) == 0
        assert tool.stderr.read() == ""
    finally:
        tool.kill()
        tool.communicate()
    assert sorted(data_dir.rglob("*")) == before
    assert len(list((tmp_path / "cache").glob("blocks_train-*"))) == 1


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["parts=[test]"], ["test.json", "train", "\n  "]),
        (["data.dir=nothing"], ["blocks_train", "prepare_data.py"]),
        (["run=nowhere"], ["nowhere", "run.json"]),
        (["run=a", "runs=[b]"], ["runs", "run="]),
        (["runs=[a,b,c]"], ["runs", "at most 2"]),
        (["prt=1"], ["prt", "port or parts?"]),
        (["port=99999"], ["port=99999"]),
    ],
)
def test_a_mistake_is_a_line_or_two(words, facts, data_dir, monkeypatch, run_tool):
    monkeypatch.chdir(data_dir)
    error = run_tool("explore", "open=false", "data.name=blocks", f"data.dir={data_dir}", *words)
    assert error.startswith("error: ")
    assert error.count("\n") == 1 + ("\n  " in error)
    for fact in facts:
        assert fact in error
