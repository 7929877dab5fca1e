"""One process or many: the same function, called here, or by PyTorch's elastic agent.

Detectron2 v0.6's own ``launch`` wants CUDA for several processes and returns nothing; the elastic
agent meets others over c10d on several machines and returns every rank's result.
"""

import logging
import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous import RendezvousError, RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from oiv5_d2.files import write_whole
from oiv5_d2.problems import Kind, Problem, Remedy, Stopped, wrong_setting
from oiv5_d2.processes import end_with_parent
from oiv5_d2.training import group

FREE_PORT = "localhost:0"  # where no other machine can meet this one
STOP_SECONDS = 600  # for the step and the checkpoint of workers that a signal ends

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)  # that end the agent
_SAID_BY_US = (  # loggers that give a traceback for what is one line here
    "torch.distributed.elastic.agent.server.api",
    "torch.distributed.elastic.multiprocessing.api",
    "torch.multiprocessing.spawn",
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launch:
    """How processes start: ``launch`` in the configs, by the names of PyTorch's ``LaunchConfig``.

    Attributes:
        min_nodes: machines.
        max_nodes: the same number: the batch is for a fixed number of processes.
        nproc_per_node: processes on each machine.
        max_restarts: how many times all start again because one was killed.
        rdzv_backend: how machines meet.
        rdzv_endpoint: ``host:port`` where they meet; any of them can be the host.
        run_id: what machines that meet have in common.
        local_addr: the address of this machine, where the others cannot reach it by its name.
        slurm: settings of submitit's ``SlurmExecutor``; None if processes start here.
    """

    min_nodes: int = 1
    max_nodes: int = 1
    nproc_per_node: int = 1
    max_restarts: int = 0
    rdzv_backend: str = "c10d"
    rdzv_endpoint: str = FREE_PORT
    run_id: str = "run"
    local_addr: str | None = None
    slurm: dict[str, Any] | None = None

    @property
    def num_processes(self) -> int:
        """Of the run, on all machines together."""
        if group.is_joined():
            return int(os.environ["WORLD_SIZE"])
        return self.nproc_per_node * self.max_nodes

    @property
    def is_led_here(self) -> bool:
        """True if this process decides alone what the run does, False if it is one of several."""
        return not group.is_joined() and self.max_nodes == 1

    @property
    def _meets_elsewhere(self) -> bool:
        return group.is_joined() or self.slurm is not None

    def check(self) -> None:
        """Refuse machines that could not meet.

        Raises:
            Problem: SETTING.
        """
        if self.min_nodes != self.max_nodes:
            detail = f"launch.min_nodes is {self.min_nodes}; a range of numbers is not supported"
            raise wrong_setting("launch.max_nodes", self.max_nodes, detail)
        if self.max_nodes > 1 and self.rdzv_endpoint == FREE_PORT and not self._meets_elsewhere:
            detail = f"{self.max_nodes} machines need a host and a port that all of them can reach"
            raise wrong_setting("launch.rdzv_endpoint", self.rdzv_endpoint, detail)


def launch(settings: Launch, run_dir: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function(*arguments)`` in every process; return the result of the lowest rank here.

    Args:
        settings: with one process in all, and in one that a launcher such as ``torchrun``
            started, the function is called here.
        run_dir: named where the run is stopped.
        function: importable by name; it finds Detectron2's process groups set up. It is called
            again in new processes after one was killed, and continues from what is on disk.
        arguments: picklable.

    Raises:
        Problem: the first one that a process had, with its rank: no reason to start again.
            STOPPED, processes were killed more often than allowed.
        Stopped: by a signal.
    """
    if group.is_joined():
        return _call_here(function, arguments)
    if settings.num_processes == 1:
        return function(*arguments)
    with tempfile.TemporaryDirectory() as folder, _handlers_kept():
        try:
            result = _run_agent(settings, Path(folder), function, arguments)
        except SignalException as error:
            raise _find_end(folder) or Stopped(error.sigval, str(run_dir)) from None
        except RendezvousError as error:
            raise _find_end(folder) or _not_met(settings, error) from error
        if result is None or result.is_failed():
            raise _find_end(folder) or _killed(result)
        return result.return_values[min(result.return_values)]


class _Agent(LocalElasticAgent):
    """PyTorch's agent, which starts workers again after one was killed, but not after an error.

    Args:
        ends_dir: where workers that end for good leave the reason.
        spec: of the workers.
    """

    def __init__(self, ends_dir: Path, spec: WorkerSpec) -> None:
        super().__init__(spec, DefaultLogsSpecs(), "spawn")
        self._ends_dir = ends_dir

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result: RunResult = super()._monitor_workers(worker_group)
        if _find_end(self._ends_dir):
            self._remaining_restarts = 0
        elif result.is_failed() and self._remaining_restarts:
            logger.warning("%s; starting all again, from the newest checkpoint", _killed(result))
        return result

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = 30) -> None:
        is_stop = isinstance(sys.exception(), SignalException)
        super()._shutdown(death_sig, STOP_SECONDS if is_stop else timeout)


def _run_agent(
    settings: Launch, ends_dir: Path, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> RunResult | None:
    meeting = get_rendezvous_handler(
        RendezvousParameters(
            backend=settings.rdzv_backend,
            endpoint=settings.rdzv_endpoint,
            run_id=settings.run_id,
            min_nodes=settings.min_nodes,
            max_nodes=settings.max_nodes,
            local_addr=settings.local_addr,
        )
    )
    spec = WorkerSpec(
        role="trainer",
        local_world_size=settings.nproc_per_node,
        rdzv_handler=meeting,
        entrypoint=_work,
        args=(function, arguments, str(ends_dir)),
        max_restarts=settings.max_restarts,
        local_addr=settings.local_addr,
    )
    for name in _SAID_BY_US:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = ",".join(one.name for one in _SIGNALS)
    # A store for each start: in a shared one, a process finds the address of one that was killed.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    is_over = False
    try:
        result: RunResult | None = _Agent(ends_dir, spec).run()
        is_over = result is not None and not result.is_failed()
    finally:
        if not is_over or settings.max_nodes == 1:  # else its host may have gone home already
            meeting.shutdown()
    return result


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Put back the handlers of signals: the agent's would raise its error when the run is over."""
    former = {one: signal.getsignal(one) for one in _SIGNALS}
    try:
        yield
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)


def _work(function: Callable[..., Any], arguments: tuple[Any, ...], ends_dir: str) -> Any:
    end_with_parent()
    try:
        return group.work_together(function, *arguments)
    except (Problem, Stopped) as end:
        if isinstance(end, Stopped) or end.kind is not Kind.STOPPED:
            write_whole(Path(ends_dir) / os.environ["RANK"], pickle.dumps(end))
        raise


def _call_here(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call the function under ``torchrun``; only one process says why they end."""
    try:
        return group.work_together(function, *arguments)
    except Problem as problem:
        if group.speaks_first(problem):
            raise
        raise SystemExit(1) from None
    except Stopped as stopped:
        if int(os.environ["RANK"]) == group.MAIN:
            raise
        raise SystemExit(stopped.code) from None


def _find_end(ends_dir: Path | str) -> Problem | Stopped | None:
    """Return why the first worker ended for good, if one did."""
    left = sorted(Path(ends_dir).glob("[0-9]*"), key=lambda path: path.stat().st_mtime_ns)
    end: Problem | Stopped | None = pickle.loads(left[0].read_bytes()) if left else None
    return end


def _killed(result: RunResult | None) -> Problem:
    """Return the problem of a worker that left no reason."""
    rank, failure = next(iter(result.failures.items())) if result else (None, None)
    detail = f"exit code {failure.exitcode}" if failure else "the other machines have ended the run"
    return Problem(Kind.STOPPED, f"process of rank {rank}", detail, remedy=Remedy.RUN_AGAIN)


def _not_met(settings: Launch, error: Exception) -> Problem:
    """Return the problem of machines that did not meet, or no longer do."""
    place = f"launch.rdzv_endpoint={settings.rdzv_endpoint}"
    detail = f"{settings.max_nodes} machines do not meet there: {error}"
    key, remedy = "launch.rdzv_endpoint", Remedy.CHECK_ADDRESS
    return Problem(Kind.UNREACHABLE, place, detail, key=key, remedy=remedy)
