"""What goes with exported weights: what the model is, how it wants its images, how good it is."""

import math
from pathlib import Path
from typing import Any

from oiv5_d2.files import sha256
from oiv5_d2.runs.layout import read_evaluations, read_record
from oiv5_d2.runs.thresholds import read_thresholds

from detectron2.config import CfgNode  # isort: skip

Card = dict[str, Any]


def make_card(run_dir: Path, weights_path: Path, cfg: CfgNode) -> Card:
    """Return the card of a run's weights, as JSON has it.

    Args:
        run_dir: the run.
        weights_path: the checkpoint that was exported.
        cfg: as the run had it.
    """
    record = read_record(run_dir)
    return {
        "name": record.get("name", run_dir.name),
        "classes": record["classes"],
        "weights_sha256": sha256(weights_path),
        "input": {
            "channels": cfg.INPUT.FORMAT,
            "shortest_side": cfg.INPUT.MIN_SIZE_TEST,
            "longest_side_at_most": cfg.INPUT.MAX_SIZE_TEST,
            "values": "uint8, 0 to 255; the mean is subtracted inside the model",
        },
        "least_score": cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST,
        "thresholds": read_thresholds(run_dir),
        "data": {name: facts.get("sha256") for name, facts in record["data"].items()},
        "results": {
            one.dataset: {
                task: {name: value for name, value in metrics.items() if not math.isnan(value)}
                for task, metrics in one.tasks.items()
            }
            for one in read_evaluations(run_dir)
        },
        "code": record.get("git", {}),
        "config": cfg.dump(),
    }


def to_markdown(card: Card) -> str:
    """Return the card for people."""
    wanted = card["input"]
    lines = [
        f"# {card['name']}",
        f"Mask R-CNN that finds {', '.join(card['classes'])}.",
        f"- **Images** {wanted['channels']}, {wanted['values']}; the shortest side "
        f"{wanted['shortest_side']} pixels, the longest at most {wanted['longest_side_at_most']}",
        f"- **Scores** from {card['least_score']}; "
        + ", ".join(f"{name} from {one:.2f}" for name, one in card["thresholds"].items()),
        f"- **Code** {card['code'].get('commit', 'unknown')}",
        *(f"- **Data** {name}, SHA-256 {digest}" for name, digest in card["data"].items()),
    ]
    rows = [
        f"- **{data}** "
        + ", ".join(f"{task} AP {of['AP']:.1f}" for task, of in tasks.items() if "AP" in of)
        for data, tasks in card["results"].items()
    ]
    return "\n\n".join([lines[0], lines[1], "\n".join(lines[2:]), *rows]) + "\n"
