"""A tool's ``--help``: its docstring, and each setting with its comment in the YAML."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from oiv5_d2.console.errors import CONFIG_DIR, ending_unread

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
    if not {"-h", "--help"} & set(sys.argv[1:]):
        return
    named = re.findall(r"^  - (\w+): ", _read(CONFIG_DIR / f"{config_name}.yaml"), re.M)
    paths = [path for name in named for path in sorted((CONFIG_DIR / name).glob("*.yaml"))]
    lines = [about.strip(), *_examples(about, paths)]
    if paths:
        lines += ["", "Groups, chosen as group=name:", *map(_choice, paths)]
    lines += ["", "Settings, with the values that they have unless given as key=value:"]
    for name in (config_name, *files):
        lines += _settings(CONFIG_DIR / f"{name}.yaml")
    lines += ["", "Composed, without running: --cfg job. Hydra's own: --hydra-help"]
    with ending_unread():
        print("\n".join(lines))
    raise SystemExit


def _examples(about: str, paths: Iterable[Path]) -> Iterator[str]:
    """Yield the commands of the same tool that the groups' files open with."""
    tool = about.partition("python tools/")[2].partition(" ")[0]
    for path in paths:
        for command in re.findall(rf"^# +(python tools/{tool} .*)", _read(path), re.M):
            if command not in about:
                yield f"  {command}"


def _choice(path: Path) -> str:
    """Return a line for a file of a group, with its first comment."""
    comments: list[str] = re.findall(r"^# (?!@)(.*)", _read(path), re.M)
    return f"  {path.parent.name}={path.stem}".ljust(_CHOICE_AT) + comments[0]


def _settings(path: Path) -> Iterator[str]:
    """Yield a line for each setting of a file, with the comment that stands beside it."""
    above: list[tuple[int, str]] = []  # the sections that the line is in: indent, key
    for line in _read(path).splitlines():
        match = _SETTING.fullmatch(line)
        if match is None:
            continue
        indent, key, value, comment = match.groups(default="")
        above = [section for section in above if section[0] < len(indent)]
        keys = [*(section for _, section in above), key]
        if not value:
            above.append((len(indent), key))
        if keys[0] not in _OTHERS and (len(keys) > 1 or value):
            shown = f"  {'.'.join(keys)}={'' if value == '???' else value}"
            yield f"{shown.ljust(_COMMENT_AT)} {comment}".rstrip()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
