"""Look through a data set in a browser:  python tools/explore.py data=mini.

What a run found:    python tools/explore.py run=outputs/quickstart
Two runs:            python tools/explore.py runs=[outputs/a,outputs/b]
The page is on this machine only and asks no other one for anything. Ctrl-C ends it.
"""

import os
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from oiv5_d2.console.commands import data_commands, read_class_file
from oiv5_d2.console.errors import report_errors, suggesting
from oiv5_d2.console.help import answer_help
from oiv5_d2.problems import Remedy, wrong_setting


@hydra.main(version_base="1.3", config_path="../configs", config_name="explore")
def main(run: DictConfig) -> None:
    """Check the settings, open what is to be shown, and serve it."""
    if run.run and run.runs:
        raise wrong_setting("runs", list(run.runs), "there is run= as well; give one of them")
    if not 0 <= run.port < 1 << 16:
        raise wrong_setting("port", run.port, "0 to 65535")
    folders = [run.run] if run.run else list(run.runs)
    chosen = HydraConfig.get()
    commands = data_commands(chosen.runtime.choices.data, chosen.overrides.task)
    evaluate = f"python tools/evaluate.py run={folders[0]}" if folders else ""
    with suggesting(commands | {Remedy.EVALUATE: evaluate}):
        explore(run, folders)


def explore(run: DictConfig, folders: list[str]) -> None:
    # Here, so that --help and a mistake on the command line are answered at once.
    from oiv5_d2.console.bars import open_screen
    from oiv5_d2.exploring import sources
    from oiv5_d2.exploring.album import open_album
    from oiv5_d2.exploring.page import render
    from oiv5_d2.exploring.server import Site, open_server

    runs, parts = sources.find_runs(folders), list(run.parts)
    if runs:
        datasets = sources.find_evaluated(runs, parts)
    else:
        datasets = sources.find_parts(run.data.name, Path(run.data.dir), parts)
    name = datasets[0].name.removesuffix(f"_{datasets[0].json_path.stem}")
    album = open_album(name, datasets, runs, Path(run.cache), open_screen())
    with open_server(Site(album, render(album)), run.port) as server:
        print(f"{len(album):,} images at {server.url} (Ctrl-C ends it)", flush=True)
        if run.open and has_screen():
            webbrowser.open(server.url)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def has_screen() -> bool:
    """Return True where a browser has a window to open."""
    return sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


if __name__ == "__main__":
    answer_help(__doc__, "explore")
    report_errors(main, "explore", [read_class_file])
