"""Write a run's model for other programs:  python tools/export.py run=outputs/quickstart to=onnx.

Or to=torchscript, or to=weights (safetensors). What was written is compared with the model on real
images before it appears; beside it is a card: classes, thresholds, data, metrics.
"""

import json
import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig

from oiv5_d2.console.commands import data_commands
from oiv5_d2.console.errors import report_errors, suggesting
from oiv5_d2.console.help import answer_help
from oiv5_d2.problems import wrong_setting
from oiv5_d2.runs.layout import data_choice, find_part, find_run

logger = logging.getLogger("oiv5_d2.export")
FORMATS = ("onnx", "torchscript", "weights")


@hydra.main(version_base="1.3", config_path="../configs", config_name="export")
def main(run: DictConfig) -> None:
    """Check the settings, find the run and its data, and export."""
    if run.to not in FORMATS:
        raise wrong_setting("to", run.to, f"one of {', '.join(FORMATS)}")
    if run.num_images < 1:
        raise wrong_setting("num_images", run.num_images, "at least 1")
    run_dir = find_run(Path(run.run))
    with suggesting(data_commands(*data_choice(run_dir))):
        export(run, run_dir)


def export(run: DictConfig, run_dir: Path) -> None:
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.files import whole_file
    from oiv5_d2.inference import card, export
    from oiv5_d2.training.models import load_cfg, load_model

    weights_path = run_dir / run.weights
    cfg = load_cfg(run_dir, weights_path, "cpu")
    model, about = load_model(cfg).eval(), card.make_card(run_dir, weights_path, cfg)
    path = Path(run.output or run_dir / "export") / export.FILES[run.to]
    if run.to == export.WEIGHTS:
        export.write_weights(model, path, about)
    else:
        export.check_exportable(cfg)
        with whole_file(path) as temporary:
            write = {export.ONNX: export.write_onnx, export.TORCHSCRIPT: export.write_torchscript}
            write[run.to](model, temporary)
            about["parity"] = check(run, run_dir, cfg, model, temporary)
    for name, text in (
        ("card.json", json.dumps(about, indent=2) + "\n"),
        ("card.md", card.to_markdown(about)),
    ):
        with whole_file(path.with_name(name)) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    print(path.with_name("card.md"))


def check(run: DictConfig, run_dir: Path, cfg, model, path: Path) -> dict[str, object]:  # noqa: ANN001
    """Return how near the exported file is to the model; refuse it if it is not."""
    from oiv5_d2.inference import export, parity, sources
    from oiv5_d2.inference.predictor import Predictor
    from oiv5_d2.problems import Kind, Problem, Remedy
    from oiv5_d2.runs.layout import read_record
    from oiv5_d2.runs.prepared import read_coco

    dataset, classes = find_part(run_dir, run.part), read_record(run_dir)["classes"]
    truth = first_images(read_coco(dataset.json_path), run.num_images)
    paths = [dataset.images_dir / one["file_name"] for one in truth["images"]]
    images = [sources.read_picture(one) for one in paths]
    opened = {export.ONNX: export.open_onnx, export.TORCHSCRIPT: export.open_torchscript}[run.to]
    first, second = (Predictor(cfg, one, classes, {}) for one in (model, opened(path)))
    found = parity.compare(first, second, images, truth)
    logger.info(
        "%d images: of %d detections %d have no counterpart (proposals of equal score); the others "
        "differ by %.1e px and %.1e in score, masks overlap by %.4f",
        *(found.num_images, found.num_found, found.num_alone),
        *(found.pixels, found.score, found.iou),
    )
    logger.info("PyTorch: mask AP %.2f, %.0f ms an image", found.ap[0], found.milliseconds[0])
    logger.info("%s: mask AP %.2f, %.0f ms an image", run.to, found.ap[1], found.milliseconds[1])
    if not found.holds:
        detail = f"{found.num_alone} of {found.num_found} detections have no counterpart"
        raise Problem(Kind.MISMATCH, path.name, detail, remedy=Remedy.NONE)
    return found._asdict()


def first_images(content: dict, number: int) -> dict:  # type: ignore[type-arg]
    """Return the content of a COCO file of fewer images."""
    images = content["images"][:number]
    ids = {one["id"] for one in images}
    annotations = [one for one in content["annotations"] if one["image_id"] in ids]
    return {**content, "images": images, "annotations": annotations}


if __name__ == "__main__":
    answer_help(__doc__, "export")
    report_errors(main, "export")
