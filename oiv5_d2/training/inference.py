"""A model run over a data set to be evaluated, while somebody watches."""

from collections.abc import Iterator
from typing import Any

import torch
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.utils import comm

from oiv5_d2.jobs import Advance, Show


def infer(
    model: torch.nn.Module, loader: Any, evaluator: DatasetEvaluator, show: Show, name: str
) -> dict[str, Any]:
    """Return an evaluator's results for a model, as ``inference_on_dataset`` does.

    Args:
        model: set to evaluation meanwhile.
        loader: of this process's images, in batches of one.
        evaluator: processes them; on the main process it returns the results.
        show: shows how many images are done.
        name: of the data set.
    """
    num_processes = comm.get_world_size()
    with show(f"Evaluation on {name}", {"images": len(loader) * num_processes}) as advance:
        watched = _Watched(loader, advance, num_processes)
        results: dict[str, Any] = inference_on_dataset(model, watched, evaluator)
    return results


class _Watched:
    """A loader that counts what was done with its batches."""

    def __init__(self, loader: Any, advance: Advance, num_processes: int) -> None:
        self._loader, self._advance, self._num_processes = loader, advance, num_processes

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            yield batch
            self._advance(self._num_processes)
        self._advance(0, 0, 0, "computing the metrics")
