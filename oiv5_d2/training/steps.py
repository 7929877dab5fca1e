"""How one step is computed: Detectron2's inner trainer, in a precision chosen by name.

It replaces ``SimpleTrainer`` and ``AMPTrainer``, which is for CUDA only. Mixed precision is that of
Micikevicius et al. 2018: weights and their updates stay in 32 bits, and PyTorch's autocast decides
which operations run in 16. Evaluation is always in 32 bits, so that a run and a later evaluation of
its checkpoint agree.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from torch import Tensor

from oiv5_d2.problems import wrong_setting
from oiv5_d2.training.memory import choose_micro_batches
from oiv5_d2.training.micro_batches import MicroBatches, Sample

AUTO = "auto"  # trainer.accumulate: as few micro batches as the GPU's memory allows
FP32, BF16, FP16 = "fp32", "bf16", "fp16"
Losses = dict[str, Tensor]
PRECISIONS = {FP32: torch.float32, BF16: torch.bfloat16, FP16: torch.float16}


def check_precision(name: str, device: str) -> None:
    """Refuse a precision that there is not, or that the device cannot compute in.

    Args:
        name: ``trainer.precision``.
        device: ``MODEL.DEVICE``, which exists.

    Raises:
        Problem: SETTING.
    """
    key, is_gpu = "trainer.precision", device.startswith("cuda")
    if name not in PRECISIONS:
        raise wrong_setting(key, name, f"there are {', '.join(PRECISIONS)}")
    if name == FP16 and not is_gpu:
        detail = f"16-bit floats need a GPU, but d2.MODEL.DEVICE is {device}"
        raise wrong_setting(key, name, detail, change=f"{key}={BF16} {key}={FP32}")
    if name == BF16 and is_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        detail = f"{torch.cuda.get_device_name()} has no bfloat16"
        raise wrong_setting(key, name, detail, change=f"{key}={FP16} {key}={FP32}")


def check_accumulate(wanted: int | str, batch: int, device: str) -> None:
    """Refuse a number of micro batches that cannot be.

    Args:
        wanted: ``trainer.accumulate``.
        batch: images of a step in each process.
        device: ``MODEL.DEVICE``.

    Raises:
        Problem: SETTING.
    """
    key = "trainer.accumulate"
    if wanted == AUTO:
        if not device.startswith("cuda"):
            raise wrong_setting(key, wanted, f"only a GPU's memory is measured, not a {device}'s")
    elif not isinstance(wanted, int) or wanted < 1:
        raise wrong_setting(key, wanted, f"a number of micro batches from 1 on, or {AUTO}")
    elif wanted > batch:
        raise wrong_setting(key, wanted, f"a process has only {batch} images in a step")


class Steps(SimpleTrainer):  # type: ignore[misc]
    """Makes one step: loads its samples, computes losses and gradients, updates the weights.

    Args:
        inner: Detectron2's, whose model, loader and optimizer are taken over.
        precision: a name of `PRECISIONS`.
        accumulate: in how many micro batches a step is computed.
    """

    def __init__(self, inner: SimpleTrainer, precision: str = FP32, accumulate: int = 1) -> None:
        super().__init__(inner.model, inner.data_loader, inner.optimizer)
        self.accumulate = accumulate
        self._unwrapped = getattr(inner.model, "module", inner.model)
        device = next(inner.model.parameters()).device.type
        is_mixed = precision != FP32
        self._autocast = partial(torch.autocast, device, PRECISIONS[precision], enabled=is_mixed)
        # Small gradients would be zero in fp16. Disabled, it does nothing and has no state.
        self._scaler = torch.amp.GradScaler(device, enabled=precision == FP16)

    def choose_micro_batches(self, samples: list[Sample], batch: int) -> int:
        """Return the fewest micro batches that fit into the GPU's memory; see `memory`.

        Args:
            samples: some of the data.
            batch: images of a step in this process.
        """
        return choose_micro_batches(self._unwrapped, samples, batch, self._autocast)

    def run_step(self) -> None:
        """Make a step; its losses are in Detectron2's event storage afterwards."""
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        self.optimizer.zero_grad()
        losses = self._differentiate(batch) if self.accumulate == 1 else self._accumulate(batch)
        self._write_metrics(losses, data_time)
        self._scaler.step(self.optimizer)
        self._scaler.update()

    def _accumulate(self, batch: list[Sample]) -> Losses:
        sums: Losses = {}
        with MicroBatches(self._unwrapped, batch, self.accumulate, self._autocast) as parts:
            for number, part in enumerate(parts, 1):
                with self._exchange_gradients(number == self.accumulate):
                    losses = self._differentiate(part.samples, part.weigh)
                sums = {name: loss + sums.get(name, 0.0) for name, loss in losses.items()}
        return sums

    def _differentiate(
        self, samples: list[Sample], weigh: Callable[[Losses], Losses] = dict
    ) -> Losses:
        """Return the losses of samples, and add their gradients to the parameters'."""
        with self._autocast():
            losses = weigh(self.model(samples))
        total: Any = sum(losses.values())
        self._scaler.scale(total).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def _exchange_gradients(self, now: bool) -> AbstractContextManager[object]:
        """Return a context in which several processes exchange their gradients, or do not."""
        return nullcontext() if now or self.model is self._unwrapped else self.model.no_sync()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, and in fp16 that of the gradients' scale."""
        state: dict[str, Any] = super().state_dict()
        scale = self._scaler.state_dict()
        return {**state, "grad_scaler": scale} if scale else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        super().load_state_dict(state)
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state["grad_scaler"])
