"""Every command that is written down somewhere is one that its tool accepts."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

ROOT = Path(__file__).parents[1]
COMMAND = re.compile(r"python tools/(\w+)\.py((?:\\\n|[^\n`])*)")
OPTIONS = {"-m", "--multirun", "--help", "--cfg", "job"}
BY_OURS = ("again=", "run_dir=", "data.classes=")  # what a tool reads before Hydra does


def read_commands():
    """Return file -> (tool, words) of each different command in documents, configs and tools."""
    places = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("configs/**/*.yaml")]
    texts = {path: path.read_text(encoding="utf-8") for path in places}
    for path in ROOT.glob("tools/*.py"):  # what --help says
        texts[path] = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return {
        (tool, read_words(rest)): str(path.relative_to(ROOT))
        for path, text in sorted(texts.items())
        for tool, rest in COMMAND.findall(text)
    }


def read_words(text):
    """Return a command's settings, with a word in the place of what a reader fills in."""
    text = re.sub(r"<[^>]*>", "x", text.replace("\\\n", " ")).rstrip('."')
    words = shlex.split(re.sub(r"\s{2,}\|.*", "", text), comments=True)
    return tuple(one for one in words if one not in OPTIONS and one not in ("…", "..."))


def one_trial(words):
    """Return the words of a sweep's first trial."""
    parser = OverridesParser.create()
    for override in parser.parse_overrides(list(words)):
        if override.is_sweep_override():
            yield f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
        else:
            yield override.input_line


def config_of(tool):
    text = (ROOT / "tools" / f"{tool}.py").read_text(encoding="utf-8")
    return re.search(r'config_name="(\w+)"', text)


COMMANDS = read_commands()


@pytest.fixture(scope="module", autouse=True)
def hydra():
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        yield


def test_the_documents_have_a_command_of_each_tool():
    tools = {path.stem for path in ROOT.glob("tools/*.py") if config_of(path.stem)}
    assert tools <= {tool for tool, _ in COMMANDS}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "words"),
    [
        pytest.param(*one, id=f"{place}: {one[0]} {shlex.join(one[1])}")
        for one, place in COMMANDS.items()
        if config_of(one[0])
    ],
)
def test_a_command_is_accepted(tool, words):
    left = [word for word in words if not word.startswith(BY_OURS)]
    assert all("=" in word for word in left)
    compose(config_of(tool)[1], list(one_trial(left)))
