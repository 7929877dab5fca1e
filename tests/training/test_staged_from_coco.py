"""From a model of COCO's 80 classes to ours in stages: its rows detect before the first step."""

import json
import shutil

import pytest

from oiv5_d2.training.heads import COCO_CLASSES

IN_COCO = {1: "person", 2: "traffic light", 3: "car", 4: "stop sign"}
STAGES = "trainer.stages=[{train:heads,until:0.25},{train:res4+,until:0.75},{train:all,rate:0.1}]"


@pytest.fixture
def coco_dir(prepared_dir, tmp_path):
    """The same images, labelled as COCO would: 80 categories, of which four are shown."""
    shutil.copytree(prepared_dir, tmp_path / "coco_blocks")
    for path in (tmp_path / "coco_blocks" / "coco").glob("*.json"):
        content = json.loads(path.read_text())
        for annotation in content["annotations"]:
            shown = IN_COCO[annotation["category_id"]]
            annotation["category_id"] = COCO_CLASSES.index(shown) + 1
        names = enumerate(COCO_CLASSES, start=1)
        content["categories"] = [{"id": number, "name": name} for number, name in names]
        path.write_text(json.dumps(content))
    return tmp_path / "coco_blocks"


def first_evaluation(run_dir):
    """Return the metrics of step 0, by name."""
    lines = (run_dir / "metrics.json").read_text().splitlines()
    (row,) = [row for row in map(json.loads, lines) if row["iteration"] == 0 and "segm/AP" in row]
    return row


@pytest.mark.slow
def test_carried_rows_detect_before_the_first_step_where_random_ones_do_not(
    start, coco_dir, tmp_path
):
    steps = "d2.SOLVER.MAX_ITER=200"
    start(steps, "d2.DATASETS.TEST=[]", name="coco", classes=COCO_CLASSES, data_dir=coco_dir)
    words = (
        f"d2.MODEL.WEIGHTS={tmp_path / 'coco' / 'model_final.pth'}",
        "trainer.evaluate_first=true",
        "d2.SOLVER.MAX_ITER=24",  # a row of metrics.json has 20
        STAGES,
    )
    start(*words, name="carried")
    start(*words, "trainer.carry_classes=false", name="random")
    carried, random = (first_evaluation(tmp_path / name) for name in ("carried", "random"))
    for task in ("bbox", "segm"):
        assert carried[f"{task}/AP"] > 5 * max(1, random[f"{task}/AP"])
