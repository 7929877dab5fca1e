"""A tool's ``--help``: its docstring, and each setting with its comment in the YAML."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from oiv5_d2.console.errors import CONFIG_DIR

_SETTING = re.compile(r"( *)([a-z]\w*):(?: +([^# ].*?))?(?: +# (.*))?")
_OTHERS = {"defaults", "hydra", "d2"}  # Hydra's own sections, and Detectron2's keys
_CHOICE_AT, _COMMENT_AT = 30, 58  # columns


def answer_help(about: str, config_name: str, files: Iterable[str] = ()) -> None:
    """Print a tool's help and end it, if its command line asks for that.

    Args:
        about: the tool's docstring, with its commands.
        config_name: of its config.
        files: of its groups, such as ``data/open_images``, whose settings are shown as well.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(usage(about, config_name, files))
        raise SystemExit


def usage(about: str, config_name: str, files: Iterable[str] = ()) -> str:
    """Return a tool's help; see `answer_help`."""
    text = (CONFIG_DIR / f"{config_name}.yaml").read_text(encoding="utf-8")
    groups = [name for name in re.findall(r"^  - (\w+): ", text, re.M) if _is_group(name)]
    lines = [about.strip(), *_examples(about, groups)]
    if groups:
        lines += ["", "Groups, chosen as group=name:", *_choices(groups)]
    lines += ["", "Settings, with the values that they have unless given as key=value:"]
    for name in (config_name, *files):
        lines += _settings(CONFIG_DIR / f"{name}.yaml")
    return "\n".join(
        [*lines, "", "Composed, without running: --cfg job. Hydra's own: --hydra-help"]
    )


def _is_group(name: str) -> bool:
    return (CONFIG_DIR / name).is_dir()


def _examples(about: str, groups: Iterable[str]) -> Iterator[str]:
    """Yield the commands of the same tool that the groups' files open with."""
    tool = about.partition("python tools/")[2].partition(" ")[0]
    for path in _files(groups):
        for command in re.findall(r"^# +(python .*)", path.read_text(encoding="utf-8"), re.M):
            if command.startswith(f"python tools/{tool} ") and command not in about:
                yield f"  {command}"


def _choices(groups: Iterable[str]) -> Iterator[str]:
    """Yield a line for each file of the groups, with its first comment."""
    for path in _files(groups):
        comments = re.findall(r"^# (?!@)(.*)", path.read_text(encoding="utf-8"), re.M)
        yield f"  {path.parent.name}={path.stem}".ljust(_CHOICE_AT) + comments[0]


def _files(groups: Iterable[str]) -> list[Path]:
    return [path for group in groups for path in sorted((CONFIG_DIR / group).glob("*.yaml"))]


def _settings(path: Path) -> Iterator[str]:
    """Yield a line for each setting of a file, with the comment that stands beside it."""
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _SETTING.fullmatch(line)
        if match is None:
            continue
        indent, key, value, comment = match.groups(default="")
        if not indent:
            section = "" if value else key
        if section not in _OTHERS and key not in _OTHERS | {section}:
            prefix = f"{section}." if indent else ""
            shown = f"  {prefix}{key}={'' if value == '???' else value}"
            yield f"{shown.ljust(_COMMENT_AT)} {comment}".rstrip()
