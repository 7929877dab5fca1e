"""Find objects in images or a video:  python tools/predict.py run=outputs/quickstart input=photos.

A video: input=street.mp4. A camera: input=0, until Ctrl-C. Distant objects: slices.side=512
The same command goes on where it was stopped. Step by step, from anchors to masks: inside=true
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import hydra
from omegaconf import DictConfig

from oiv5_d2.console.commands import changed_settings, choose_defaults
from oiv5_d2.console.errors import report_errors
from oiv5_d2.console.help import answer_help
from oiv5_d2.problems import wrong_setting
from oiv5_d2.runs.layout import find_run
from oiv5_d2.runs.matches import MIN_SCORE

logger = logging.getLogger("oiv5_d2.predict")


@hydra.main(version_base="1.3", config_path="../configs", config_name="predict")
def main(run: DictConfig) -> None:
    """Check the settings, find the run, and predict."""
    if run.threshold is not None and not 0 <= run.threshold <= 1:
        raise wrong_setting("threshold", run.threshold, "a score, 0 to 1")
    if run.batch < 1:
        raise wrong_setting("batch", run.batch, "at least 1")
    run_dir, changes = find_run(Path(run.run)), changed_settings(run)
    if run.inside:
        draw_inside(run, run_dir, changes)
    else:
        predict(run, run_dir, changes)


def predict(run: DictConfig, run_dir: Path, changes: Mapping[str, object]) -> None:
    """Predict what `run.input` names, and print where everything is."""
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.console.bars import open_screen
    from oiv5_d2.inference import ledger, prediction, sources
    from oiv5_d2.inference.predictor import Predictor
    from oiv5_d2.inference.slices import Slices

    slices = Slices(run.slices.side, run.slices.overlap)
    drawing = prediction.Drawing(run.draw, choose_thresholds(run, run_dir))
    with sources.open_source(str(run.input)) as source:  # before the model, which takes longer
        is_video = isinstance(source, sources.Video)
        name = sources.name_source(str(run.input), [] if is_video else source)
        output_dir = Path(run.output or run_dir / "predictions" / name)
        predictor = Predictor.from_run(run_dir, run.weights, run.device, {}, slices, changes)
        path = output_dir / ledger.DETECTIONS_JSONL
        if run.force or is_video:  # a video cannot be continued
            path.unlink(missing_ok=True)
        about = {
            **describe(run_dir / run.weights, changes),
            "slices": [slices.side, slices.overlap],
            "draw": drawing.kind,
            "thresholds": dict(drawing.thresholds),
        }
        found = ledger.Ledger(path, about)
        target = output_dir / (f"{name}_{drawing.kind}.mp4" if is_video else "pictures")
        how = prediction.predict_video if is_video else prediction.predict_pictures
        how(predictor, source, found, drawing, target, run.batch, open_screen())
    mids = read_mids(run_dir) if run.csv else None
    for written in ledger.write_files(found, output_dir, predictor.classes, mids):
        print(written)
    if drawing.kind != "none" or is_video:
        print(target)


def draw_inside(run: DictConfig, run_dir: Path, changes: Mapping[str, object]) -> None:
    """Draw what the model does with each image, step by step, and print where that is."""
    from oiv5_d2.console.bars import open_screen
    from oiv5_d2.inference import sources, strip
    from oiv5_d2.inference.predictor import Predictor
    from oiv5_d2.runs.layout import read_record
    from oiv5_d2.training.models import load_cfg, load_model

    source = str(run.input)
    if sources.is_video(source):
        raise wrong_setting("inside", True, "images only, no video or camera", change="input")
    pictures = sources.find_pictures(source)
    cfg = load_cfg(run_dir, run_dir / run.weights, run.device, changes)
    model = load_model(cfg).eval()
    predictor = Predictor(cfg, model, read_record(run_dir)["classes"], {})
    folder = Path(run.output or run_dir / "inside")
    thresholds = choose_thresholds(run, run_dir)
    shown = (predictor, pictures, thresholds, folder, open_screen())
    for path in strip.write_strips(model, *shown):
        print(path)


def choose_thresholds(run: DictConfig, run_dir: Path) -> dict[str, float]:
    """Return the least score of what is drawn, by class: the setting's, or the run's own."""
    from oiv5_d2.runs.layout import read_record
    from oiv5_d2.runs.thresholds import read_thresholds

    classes = read_record(run_dir)["classes"]
    own = read_thresholds(run_dir) if run.threshold is None else {}
    fallback = MIN_SCORE if run.threshold is None else float(run.threshold)
    return {name: own.get(name, fallback) for name in classes}


def describe(weights_path: Path, changes: Mapping[str, object]) -> dict[str, object]:
    """Return what detections depend on, but for the images."""
    from oiv5_d2.files import sha256

    digest = sha256(weights_path) if weights_path.is_file() else None  # refused where it is loaded
    return {"weights": digest, "d2": dict(changes)}


def read_mids(run_dir: Path) -> dict[str, str]:
    """Return MIDs by class name, from the run's data."""
    from oiv5_d2.evaluation import labels
    from oiv5_d2.runs.layout import find_dataset, read_record

    dataset = find_dataset(run_dir, next(iter(read_record(run_dir)["data"])))
    return labels.read_mids(dataset.json_path, None)


if __name__ == "__main__":
    answer_help(__doc__, "predict")
    report_errors(main, "predict", [choose_defaults])
