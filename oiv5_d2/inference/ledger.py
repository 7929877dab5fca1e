"""What was found so far, a line an image, so that a stopped prediction goes on where it was."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from oiv5_d2.evaluation.detections import Collector, Detections
from oiv5_d2.evaluation.formats import write_coco, write_csv
from oiv5_d2.evaluation.truth import Truth, build_truth
from oiv5_d2.files import whole_file
from oiv5_d2.inference.predictor import Detection
from oiv5_d2.problems import Kind, Problem, Remedy

DETECTIONS_JSONL = "detections.jsonl"
IMAGES_JSON = "images.json"
PREDICTIONS_JSON, PREDICTIONS_CSV = "predictions.json", "predictions.csv"


class Entry(NamedTuple):
    """What was found in one image.

    Attributes:
        name: of the image.
        file_name: of its file.
        size: (height, width) in pixels.
        found: the detections.
    """

    name: str
    file_name: str
    size: tuple[int, int]
    found: list[Detection]


class Ledger:
    """A file that grows by a line an image; its first line says what the detections are of."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Open the file, or begin it. A line that was cut short by a kill is left out.

        Args:
            path: the file.
            about: model and settings, as JSON has them.

        Raises:
            Problem: MISMATCH, the file is of another model or of other settings.
        """
        self._path, first = path, json.dumps({"about": about}, sort_keys=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole:
            _check(path, json.loads(whole.split(b"\n", 1)[0])["about"], json.loads(first)["about"])
        with path.open("r+b" if path.exists() else "wb") as file:
            file.truncate(len(whole))
            file.seek(len(whole))
            file.write(b"" if whole else f"{first}\n".encode())
        self.names = {entry.name for entry in self.entries()}

    def entries(self) -> Iterator[Entry]:
        """Yield what is in the file, in the order in which it was found."""
        with self._path.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                name, file_name, size, found = json.loads(line)
                yield Entry(name, file_name, tuple(size), [_detection(one) for one in found])

    def add(self, entry: Entry) -> None:
        """Add an image; when this returns, it is in the file."""
        found = [_plain(one) for one in entry.found]
        line = json.dumps([entry.name, entry.file_name, entry.size, found])
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        self.names.add(entry.name)


def write_files(
    ledger: Ledger, output_dir: Path, classes: Sequence[str], mids: Mapping[str, str] | None
) -> list[Path]:
    """Write what was found in the formats of others, images by name.

    Args:
        ledger: what was found.
        output_dir: gets ``images.json``, a COCO file without objects, and ``predictions.json``,
            COCO's results; with ``mids`` also ``predictions.csv``, as the challenge has them.
        classes: in the model's order; their category ids count from 1.
        mids: MID by class.
    """
    entries = sorted(ledger.entries(), key=lambda entry: entry.name)
    content = {
        "images": [
            {
                "id": id_,
                "file_name": entry.file_name,
                "height": entry.size[0],
                "width": entry.size[1],
                "open_images_id": Path(entry.name).name,  # as the release names its files
            }
            for id_, entry in enumerate(entries, start=1)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, start=1)],
        "annotations": [],
    }
    with whole_file(output_dir / IMAGES_JSON) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    truth = build_truth(content, "images", "")
    found = to_detections([entry.found for entry in entries], truth)
    paths = [output_dir / IMAGES_JSON, output_dir / PREDICTIONS_JSON]
    write_coco(paths[-1], found, truth)
    if mids is not None:
        paths.append(output_dir / PREDICTIONS_CSV)
        write_csv(paths[-1], found, truth, mids)
    return paths


def to_detections(found: Sequence[Sequence[Detection]], truth: Truth) -> Detections:
    """Return the detections in each of the truth's images as metrics want them."""
    collector = Collector()
    for place, some in enumerate(found):
        height, width = truth.sizes[place].tolist()
        for one in some:
            x0, y0, x1, y1 = one.box
            counts = one.rle["counts"] if one.rle else b""
            box = [x0, y0, x1 - x0, y1 - y0]
            where = (place, truth.classes.index(one.class_name))
            collector.append(where, one.score, box, (height, width), counts)
    return collector.finish()


def _check(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    if changed:
        detail = f"it is of another prediction: {', '.join(changed)} changed"
        remedy = Remedy.CHANGE_SETTING
        raise Problem(Kind.MISMATCH, path, detail, key="output force", remedy=remedy)


def _plain(one: Detection) -> list[Any]:
    rle = one.rle and {"size": one.rle["size"], "counts": one.rle["counts"].decode("ascii")}
    return [one.class_name, one.score, one.box, rle]


def _detection(plain: Sequence[Any]) -> Detection:
    name, score, box, rle = plain
    outline = rle and {"size": rle["size"], "counts": rle["counts"].encode("ascii")}
    return Detection(name, score, tuple(box), outline)
