"""Write a run's model for other programs:  python tools/export.py run=outputs/quickstart to=onnx.

Or to=torchscript, or to=weights (safetensors). Smaller: to=onnx precision=fp16, or int8. What was
written is compared with the model on real images before it appears; beside it is a card: classes,
thresholds, data, metrics.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from oiv5_d2.console.commands import data_commands
from oiv5_d2.console.errors import report_errors, suggesting
from oiv5_d2.console.help import answer_help
from oiv5_d2.inference.precision import FP16, FP32, PRECISIONS, Image
from oiv5_d2.problems import wrong_setting
from oiv5_d2.runs.layout import data_choice, find_part, find_run

if TYPE_CHECKING:
    from detectron2.config import CfgNode
    from torch.nn import Module

    from oiv5_d2.inference.parity import Parity

logger = logging.getLogger("oiv5_d2.export")
FORMATS = ("onnx", "torchscript", "weights")


@hydra.main(version_base="1.3", config_path="../configs", config_name="export")
def main(run: DictConfig) -> None:
    """Check the settings, find the run and its data, and export."""
    if run.to not in FORMATS:
        raise wrong_setting("to", run.to, f"one of {', '.join(FORMATS)}")
    if run.precision not in PRECISIONS:
        raise wrong_setting("precision", run.precision, f"one of {', '.join(PRECISIONS)}")
    if run.precision != FP32 and run.to != "onnx":
        raise wrong_setting("precision", run.precision, "to=onnx alone has it")
    for key in ("num_images", "calibration"):
        if run[key] < 1:
            raise wrong_setting(key, run[key], "at least 1")
    run_dir = find_run(Path(run.run))
    with suggesting(data_commands(*data_choice(run_dir))):
        export(run, run_dir)


def export(run: DictConfig, run_dir: Path) -> None:
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.files import whole_file
    from oiv5_d2.inference import card, export
    from oiv5_d2.table import to_text
    from oiv5_d2.training.models import load_cfg, load_model

    weights_path = run_dir / run.weights
    cfg = load_cfg(run_dir, weights_path, "cpu")
    model, about = load_model(cfg).eval(), card.make_card(run_dir, weights_path, cfg)
    path = Path(run.output or run_dir / "export") / export.FILES[run.to]
    if run.precision != FP32:
        path = path.with_stem(f"{path.stem}_{run.precision}")
    about["formats"] = card.read_formats(path.parent, about["weights_sha256"])
    if run.to == export.WEIGHTS:
        export.write_weights(model, path, about)
    else:
        export.check_exportable(cfg)
        with whole_file(path) as temporary:
            write(run, run_dir, cfg, model, temporary)
            about["formats"][path.name] = check(run, run_dir, cfg, model, temporary)
        print(to_text(card.formats_table(about["formats"])))
    for name, text in (
        (card.CARD_JSON, json.dumps(about, indent=2) + "\n"),
        ("card.md", card.to_markdown(about)),
    ):
        with whole_file(path.with_name(name)) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    print(path.with_name("card.md"))


def write(run: DictConfig, run_dir: Path, cfg: "CfgNode", model: "Module", path: Path) -> None:
    """Write the model in the format and the precision that were asked for."""
    from oiv5_d2.inference import export, precision

    if run.to == export.TORCHSCRIPT:
        export.write_torchscript(model, path)
    elif run.precision == FP32:
        export.write_onnx(model, path)
    else:
        with TemporaryDirectory() as folder:
            full = Path(folder) / export.FILES[export.ONNX]
            export.write_onnx(model, full)
            if run.precision == FP16:
                precision.to_fp16(full, path)
            else:
                precision.to_int8(full, path, training_images(run, run_dir, cfg))


def training_images(run: DictConfig, run_dir: Path, cfg: "CfgNode") -> Iterator[Image]:
    """Yield images from all over the training data, as the exported model takes them."""
    from oiv5_d2.inference.predictor import to_tensor
    from oiv5_d2.inference.sources import to_picture
    from oiv5_d2.runs.prepared import read_coco

    dataset = find_part(run_dir, "train")
    images, source = read_coco(dataset.json_path)["images"], dataset.images
    for one in images[:: max(1, len(images) // run.calibration)][: run.calibration]:
        yield to_tensor(cfg, to_picture(source.open(one["file_name"]))).numpy()


def check(
    run: DictConfig, run_dir: Path, cfg: "CfgNode", model: "Module", path: Path
) -> dict[str, Any]:
    """Return how near the exported file is to the model; refuse it if it is not."""
    from oiv5_d2.inference import export, parity, sources
    from oiv5_d2.inference.predictor import Predictor
    from oiv5_d2.runs.layout import read_record
    from oiv5_d2.runs.prepared import read_coco

    dataset, classes = find_part(run_dir, run.part), read_record(run_dir)["classes"]
    truth = first_images(read_coco(dataset.json_path), run.num_images)
    source = dataset.images
    images = [sources.to_picture(source.open(one["file_name"])) for one in truth["images"]]
    opened = {export.ONNX: export.open_onnx, export.TORCHSCRIPT: export.open_torchscript}[run.to]
    first, second = (Predictor(cfg, one, classes, {}) for one in (model, opened(path)))
    found = parity.compare(first, second, images, truth)
    if run.precision == FP32:
        show_differences(found)
    words = f"to={run.to} precision={run.precision}"
    parity.refuse(found, words, None if run.precision == FP32 else run.max_loss)
    return {"part": run.part, "megabytes": path.stat().st_size / 1e6, **found._asdict()}


def show_differences(found: "Parity") -> None:
    """Say how near a copy in the model's own numbers is to the model."""
    logger.info(
        "%d images: of %d detections %d have no counterpart (proposals of equal score); the others "
        "differ by %.1e px and %.1e in score, masks overlap by %.4f",
        *(found.num_images, found.num_found, found.num_alone),
        *(found.pixels, found.score, found.iou),
    )


def first_images(content: dict, number: int) -> dict:  # type: ignore[type-arg]
    """Return the content of a COCO file of fewer images."""
    images = content["images"][:number]
    ids = {one["id"] for one in images}
    annotations = [one for one in content["annotations"] if one["image_id"] in ids]
    return {**content, "images": images, "annotations": annotations}


if __name__ == "__main__":
    answer_help(__doc__, "export")
    report_errors(main, "export")
