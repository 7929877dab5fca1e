"""What a user sees when something is wrong: one line, never a page of frames."""

import os
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from oiv5_d2.keys import leaves, near

CONFIG_DIR = Path(__file__).parents[2] / "configs"
TRACEBACK_SWITCH = "OIV5_D2_TRACEBACK"
STOPPED = 130  # a shell's exit code for Ctrl-C
UNREAD = 141  # and for a program whose reader has gone, as that of ``... | head``


def report_errors(main: Callable[[], Any], config_name: str, to_go_on: str = "") -> None:
    """Call a tool's Hydra ``main`` so that a user's mistake ends it with one line and exit code 1.

    The package raises ``ValueError`` and ``OSError`` for what a user can mend; their message says
    what is wrong, where, and the remedy. Hydra's own complaints are put the same way, with the
    nearest known key. Where nobody reads the output any more it ends quietly. Anything else is a
    fault of ours and keeps its traceback, as does everything where ``OIV5_D2_TRACEBACK=1`` is set.

    Args:
        main: the tool's.
        config_name: of its config.
        to_go_on: how to go on after Ctrl-C, where that is possible.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come through Hydra as they are
    try:
        with redirect_stderr(cast("TextIO", _WithoutHydrasLine(sys.stderr))):
            main()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still to be written goes nowhere, or the interpreter would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(UNREAD) from None
    except HydraException as error:
        _stop(error, explain(error, config_name))
    except (OSError, ValueError, OmegaConfBaseException) as error:
        _stop(error, " ".join(str(error).split()))
    except KeyboardInterrupt:
        print(f"stopped{to_go_on and f': {to_go_on}'}", file=sys.stderr)
        raise SystemExit(STOPPED) from None


class _WithoutHydrasLine:
    """A stream that passes all on but Hydra's line about the failing job, which ours stands for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if not text.startswith("Error executing job with overrides:"):
            self._stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def explain(error: HydraException, config_name: str) -> str:
    """Return Hydra's complaint in one line; for an unknown key, with the nearest known ones."""
    override = re.search(r"Could not override '([^']+)'", str(error))
    if override is None:
        return " ".join(str(error).split())
    key = override.group(1)
    return f"unknown key {key}{near(key, _known_keys(config_name))}"


def _known_keys(config_name: str) -> set[str]:
    """Return the keys and groups of a tool's own config, as it is without any override."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        run = OmegaConf.to_container(compose(config_name), resolve=False)
    groups = {path.name for path in CONFIG_DIR.iterdir() if path.is_dir()}
    return {key for key, _ in leaves(run)} | groups  # type: ignore[arg-type]


def _stop(error: Exception, line: str) -> NoReturn:
    if os.environ.get(TRACEBACK_SWITCH) == "1":
        raise error
    print(f"error: {line}", file=sys.stderr)
    raise SystemExit(1)
