"""What a user sees when something is wrong: a line or two, never a page of frames."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from oiv5_d2.console.shell import command, setting
from oiv5_d2.keys import leaves, near
from oiv5_d2.problems import TRY_AGAIN, Kind, Problem, Remedy, Stopped
from oiv5_d2.runs.layout import RUN_JSON

CONFIG_DIR = Path(__file__).parents[2] / "configs"
TRACEBACK_SWITCH = "OIV5_D2_TRACEBACK"
ADDED = ("experiment", "sweep", "debug")  # groups that no defaults list names
STOPPED = 130  # a shell's exit code for Ctrl-C
UNREAD = 141  # and for a program whose reader has gone, as that of ``... | head``

# What follows the subject in the first line.
PHRASES = {
    Kind.ABSENT: "does not exist",
    Kind.BUSY: "is in use by another process",
    Kind.CHANGED: "has changed",
    Kind.DAMAGED: "is damaged",
    Kind.DISK_FULL: "has no disk space left",
    Kind.DIVERGED: "diverged",
    Kind.EMPTY: "is empty",
    Kind.FAILED: "ended with an error",
    Kind.FOREIGN: "was not made by these tools",
    Kind.MISMATCH: "does not match",
    Kind.REFUSED: "was refused",
    Kind.SETTING: "is not a valid setting",
    Kind.STOPPED: "was stopped from outside",
    Kind.TOO_LARGE: "is too large",
    Kind.TOO_MANY: "exceeds the limit",
    Kind.UNFINISHED: "is not finished",
    Kind.UNREACHABLE: "cannot be reached",
    Kind.UNSUPPORTED: "is not supported",
}
# The second line. A tool can hand in the command that fits its choice of data or run: `suggesting`.
REMEDIES = {
    Remedy.ADD_FILES: "Copy or link the files to where they are looked for{or_change}.",
    Remedy.CHANGE_SETTING: "{Change}.",
    Remedy.CHECK_ADDRESS: "Check the address and the network{or_change}.",
    Remedy.EVALUATE: "Evaluate the run{or_change}:  {command}",
    Remedy.FETCH_AGAIN: "Run the same command again to download it again{or_change}.",
    Remedy.FEWER_WORKERS: "Memory probably ran out: use fewer processes{or_change}.",
    Remedy.FIX_IMAGE_LIST: "Write one split/ImageID or ImageID per line{or_change}.",
    Remedy.FIX_LINE: "Correct or remove the line{or_change}.",
    Remedy.FIX_SOURCE: "Fix the file at its source{or_change}.",
    Remedy.FOLLOW_FINDINGS: "Follow the remedy of each finding{or_change}.",
    Remedy.FREE_DISK: "Free some disk space and run the same command again{or_change}.",
    Remedy.LAY_OUT_SOURCE: "Give a folder or URL with openimages/ and open-images-dataset/"
    "{or_change}; without one, use data=mini, or data=traffic to download.",
    Remedy.MOVE_AWAY: "Move it elsewhere{or_change}: files made by others are never replaced.",
    Remedy.OWN_IMAGES: "Own images need ids of 16 hex digits, such as the first of their SHA-256; "
    "with a COCO file use data=coco{or_change}.",
    Remedy.PACK_AGAIN: "Remove that file and pack again{or_change}:  {command}",
    Remedy.PREPARE: "Prepare the data{or_change}:  {command}",
    Remedy.PREPARE_AGAIN: "Prepare the data again{or_change}:  {command}",
    Remedy.REPACK_ZIP: "Pack the zip again, by deflate or stored{or_change}.",
    Remedy.RESUME: "When that is fixed, continue with:  {command}",
    Remedy.RETRY_FAILED: "Run the same command with retry_failed=true{or_change}.",
    Remedy.RUN_AGAIN: "Run the same command again{or_change}.",
    Remedy.SAVE_AS_PNG: "Save the masks as PNG, under the names that MaskPath has{or_change}.",
    Remedy.SAVE_AS_UTF8: "Save the file as UTF-8{or_change}.",
    Remedy.SAVE_WEIGHTS: "If you trust the file, save its state_dict alone with torch.save and"
    " give that{or_change}.",
    Remedy.TRAIN: "Train a run{or_change}, or finish one with run_dir=<its folder> resume=true:  "
    "{command}",
    Remedy.WAIT: "Wait until the other process has finished, or stop it{or_change}.",
}
# Otherwise this one: the tool, and what to fill in.
COMMANDS = {
    Remedy.EVALUATE: ("evaluate", "run=<run>"),
    Remedy.PACK_AGAIN: ("prepare_data", "data=<name> pack=true"),
    Remedy.PREPARE: ("prepare_data", "data=<name>"),
    Remedy.PREPARE_AGAIN: ("prepare_data", "data=<name> force=true"),
    Remedy.RESUME: ("train_net", "+experiment=<name> run_dir=<run> resume=true"),
    Remedy.TRAIN: ("train_net", "+experiment=<name>"),
}


def report_errors(
    main: Callable[[], Any],
    config_name: str,
    before: Iterable[Callable[[], None]] = (),
    to_go_on: str = "",
) -> None:
    """Call a tool's Hydra ``main`` so that a user's mistake ends it with a line or two and code 1.

    What was ended from outside has the code `TRY_AGAIN`.
    Hydra's own complaints become one line, with the nearest known names. A tool whose reader has
    gone ends quietly. Anything else is a fault of ours and keeps its traceback, as everything does
    with ``OIV5_D2_TRACEBACK=1``.

    Args:
        main: the tool's.
        config_name: of its config.
        before: what completes the command line, before Hydra reads it.
        to_go_on: how to continue after Ctrl-C, where that is possible.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come through Hydra as they are
    try:
        with ending_unread(), redirect_stderr(cast("TextIO", _WithoutHydrasLine(sys.stderr))):
            for complete in before:
                complete()
            main()
    except Problem as problem:
        _stop(problem, words(problem))
    except HydraException as error:
        _stop(error, explain(error, config_name))
    except (OSError, ValueError, OmegaConfBaseException) as error:
        _stop(error, _in_one_line(error))
    except Stopped as stopped:
        print(continuing(stopped), file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print(f"stopped{to_go_on and f': {to_go_on}'}", file=sys.stderr)
        raise SystemExit(STOPPED) from None


@contextmanager
def ending_unread() -> Iterator[None]:
    """Let a tool whose reader has gone, such as that of ``... | head``, end quietly."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still to be written goes nowhere, or the interpreter would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(UNREAD) from None


def continuing(stopped: Stopped) -> str:
    """Return what to say about a stopped run: its folder, and the command that continues it."""
    steps = "" if stopped.num_steps is None else f" after {stopped.num_steps} steps"
    following = resume_command(stopped.run_dir)
    return f"stopped by {stopped.signal.name}{steps}; continue with:  {following}"


def resume_command(run_dir: str) -> str:
    """Return the command that continues the run, or the sweep, of this process's command line."""
    folders = ("run_dir=", "resume=", "sweep_dir=")
    words = [word for word in sys.argv[1:] if not word.startswith(folders)]
    where = os.path.relpath(run_dir)
    is_sweep = {"-m", "--multirun"} & set(words)
    more = [setting("sweep_dir" if is_sweep else "run_dir", where)]
    more += [] if is_sweep else ["resume=true"]
    return command("train_net", *words, *more)


@contextmanager
def resuming(run_dir: str) -> Iterator[None]:
    """Let a problem name the command that continues a run, where the same one would begin another.

    Args:
        run_dir: of the run, if it has begun.
    """
    try:
        yield
    except Problem as problem:
        if (
            problem.remedy in (Remedy.FREE_DISK, Remedy.RUN_AGAIN)
            and Path(run_dir, RUN_JSON).exists()
        ):
            problem.remedy = Remedy.RESUME
            problem.add_note(resume_command(run_dir))
        raise


@contextmanager
def suggesting(commands: Mapping[Remedy, str]) -> Iterator[None]:
    """Add the command that fits its remedy to a problem on its way to `report_errors`."""
    try:
        yield
    except Problem as problem:
        if problem.remedy in commands:
            problem.add_note(commands[problem.remedy])
        raise


def words(problem: Problem) -> str:
    """Return a problem in words: what is wrong in one line, and what helps in another one."""
    first = f"{problem.subject} {PHRASES[problem.kind]}"
    if problem.detail:
        first += f": {_in_one_line(problem.detail)}"
    if problem.remedy is Remedy.NONE:
        return first
    following = next(iter(getattr(problem, "__notes__", ())), _example(problem.remedy))
    steps = [f"change {one}" for one in problem.key.split() if "=" not in one]
    if values := " ".join(one for one in problem.key.split() if "=" in one):
        steps.append(f"set {values}")
    change = " or ".join(steps) or "change the setting"
    second = REMEDIES[problem.remedy].format(
        command=following,
        Change=f"{change[0].upper()}{change[1:]}",
        or_change=f", or {change}" if steps else "",
    )
    return f"{first}\n  {second}"


def _example(remedy: Remedy) -> str:
    tool, words_ = COMMANDS.get(remedy, ("", ""))
    return f"{command(tool)} {words_}" if tool else ""


class _WithoutHydrasLine:
    """A stream that drops Hydra's line about the failing job; our own line replaces it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if not text.startswith("Error executing job with overrides:"):
            self._stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def explain(error: HydraException, config_name: str) -> str:
    """Return Hydra's complaint in one line, with the nearest known keys or files of a group."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        found = near(name, error.options) or f"; there are {', '.join(sorted(error.options))}"
        return f"{group}={name} is not a valid setting: no such file in configs/{group}{found}"
    if isinstance(error, OverrideParseException) or "Ambiguous value" in str(error):
        return _quoted(error)
    if override := re.search(r"Could not override '([^']+)'", str(error)):
        key = override.group(1)
        if key in ADDED:
            word = next((word for word in sys.argv[1:] if word.startswith(f"{key}=")), f"{key}=...")
            return f"{word} is not a valid setting here: it is added, +{word}{_near_file(word)}"
        if key in (known := _known_keys(config_name)):
            return (
                f"{key} is not a valid setting here: the chosen files of configs/ have no such key"
            )
        return f"{key} is not a valid setting: unknown key{near(key, known)}"
    return _in_one_line(error)


def _near_file(word: str) -> str:
    """Return the nearest files of a group if there is none as a word, ``group=name``, says."""
    group, _, name = word.partition("=")
    names = [path.stem for path in (CONFIG_DIR / group).glob("*.yaml")]
    return "" if name in names else near(name, names)


def _quoted(error: HydraException) -> str:
    """Return what to type for a value that Hydra's grammar does not take as it is."""
    odd = getattr(error, "override", None)
    word = odd or next((word for word in sys.argv[1:] if "," in word and "=" in word), "")
    key, _, value = word.partition("=")
    if not value or value[0] == "{" or re.search(r"^\[.*[\[{'\"]", value):
        return _in_one_line(error)
    if value[0] == "[":
        names = value.strip("[]").split(",")
        right = f"{key}=[{','.join(setting('', name.strip())[1:] for name in names)}]"
    else:
        right = setting(key, value.strip("'\""))
    right = shlex.quote(right) if re.search(r'[$`"!\\]', right) else f'"{right}"'
    return f"{word} has to be quoted, for Hydra and for the shell:  {right}"


def _known_keys(config_name: str) -> set[str]:
    """Return the keys and groups of a tool's own config, as it is without any override."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        run = OmegaConf.to_container(compose(config_name), resolve=False)
    groups = {path.name for path in CONFIG_DIR.iterdir() if path.is_dir()}
    return {key for key, _ in leaves(run)} | groups  # type: ignore[arg-type]


def _in_one_line(error: Exception | str) -> str:
    return " ".join(str(error).split())


def _stop(error: Exception, text: str) -> NoReturn:
    if os.environ.get(TRACEBACK_SWITCH) == "1":
        raise error
    print(f"error: {text}", file=sys.stderr)
    is_ended = isinstance(error, Problem) and error.kind is Kind.STOPPED
    raise SystemExit(TRY_AGAIN if is_ended else 1)
