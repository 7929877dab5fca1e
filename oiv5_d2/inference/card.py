"""What goes with exported weights: what the model is, how it wants its images, how good it is."""

import math
from pathlib import Path
from typing import Any

from oiv5_d2.files import read_json, sha256
from oiv5_d2.problems import Remedy
from oiv5_d2.runs.layout import read_evaluations, read_record
from oiv5_d2.runs.thresholds import read_thresholds
from oiv5_d2.table import Table

from detectron2.config import CfgNode  # isort: skip

Card = dict[str, Any]
Formats = dict[str, dict[str, Any]]  # file -> `parity.Parity`, its part and megabytes

CARD_JSON = "card.json"
COLUMNS = ("file", "images", "mask AP", "PyTorch", "ms an image", "PyTorch", "MB")


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


def read_formats(folder: Path, weights_sha256: str) -> Formats:
    """Return what the card in a folder says of earlier exports of the same weights."""
    path = folder / CARD_JSON
    earlier = read_json(path, Remedy.MOVE_AWAY) if path.is_file() else {}
    is_same = earlier.get("weights_sha256") == weights_sha256
    return earlier.get("formats", {}) if is_same else {}


def formats_table(formats: Formats) -> Table:
    """Return what each exported file costs, beside PyTorch on the same images."""
    rows = [
        (
            name,
            f"{one['num_images']} of {one['part']}",
            *(f"{ap:.2f}" for ap in reversed(one["ap"])),
            *(f"{milliseconds:.0f}" for milliseconds in reversed(one["milliseconds"])),
            f"{one['megabytes']:.1f}",
        )
        for name, one in sorted(formats.items())
    ]
    return Table("Formats", COLUMNS, rows, words_at=1)


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
    table = formats_table(card.get("formats", {}))
    if table.rows:
        cells = [table.columns, tuple("---" for _ in table.columns), *table.rows]
        rows.append("\n".join(f"| {' | '.join(row)} |" for row in cells))
    return "\n\n".join([lines[0], lines[1], "\n".join(lines[2:]), *rows]) + "\n"
