"""Losses that are no longer numbers, recognised before they reach the weights."""

import json
import math
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm

from oiv5_d2.files import whole_file
from oiv5_d2.problems import Kind, Problem, Remedy


class Diverged(Problem):
    """A loss is NaN or infinite; raised in all processes at the same step."""

    def __init__(self, step: int, images: list[str], losses: dict[str, float], path: Path) -> None:
        wrong = ", ".join(f"{k}={v}" for k, v in losses.items() if not math.isfinite(v))
        super().__init__(
            Kind.DIVERGED,
            f"step {step}",
            f"{wrong}; images {', '.join(images)}; all of it in {path}",
            key="d2.SOLVER.BASE_LR trainer.on_divergence=rollback",
            remedy=Remedy.CHANGE_SETTING,
        )
        self._arguments = step, images, losses, path

    def __reduce__(self) -> tuple[object, ...]:
        """Keep what it is about on the way out of a worker process."""
        return Diverged, self._arguments, vars(self)


class CheckLosses(HookBase):  # type: ignore[misc]
    """Stop at the first loss that is not finite, before the backward pass, on all processes."""

    def before_train(self) -> None:
        """Put the check around the model's forward pass."""
        model = self.trainer.checkpointer.model  # not its wrapper, which stages renew
        self._forward = model.forward
        model.forward = self._check

    def after_train(self) -> None:
        """Take the check away."""
        self.trainer.checkpointer.model.forward = self._forward

    def _check(self, batch: list[dict[str, Any]]) -> Any:
        if not self.trainer.model.training or self.trainer.evaluations.is_running:
            return self._forward(batch)
        try:
            losses = self._forward(batch)
            values = {name: loss.item() for name, loss in losses.items()}
        except FloatingPointError:  # Detectron2's own check of the proposals
            losses, values = {}, {"proposals": math.nan}
        files = [sample["file_name"] for sample in batch]
        is_wrong = not all(map(math.isfinite, values.values()))
        for images, found in comm.all_gather((files, values) if is_wrong else ([], {})):
            if found:
                raise Diverged(self.trainer.iter, images, found, self._keep(images, found))
        return losses

    def _keep(self, images: list[str], losses: dict[str, float]) -> Path:
        """Write what the step saw; its samples can be drawn again from the run's seed."""
        step = self.trainer.iter
        path = Path(self.trainer.cfg.OUTPUT_DIR) / f"diverged_{step:07d}.json"
        if comm.is_main_process():
            values = {name: str(value) for name, value in losses.items()}  # JSON has no NaN
            content = {"step": step, "losses": values, "images": images}
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(content, indent=2) + "\n")
        return path
