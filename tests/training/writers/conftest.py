"""Runs of the tiny model that are kept by W&B, offline and away from the user's own settings."""

import os
import socket
import threading

import pytest
import wandb

LOGGER = {"project": "test", "group": "blocks", "tags": ["mini"]}


@pytest.fixture(autouse=True)
def no_key(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    yield
    if "WANDB_API_KEY" in os.environ:  # W&B keeps it for all runs of a process
        wandb.teardown()


@pytest.fixture
def keep(start, tmp_path):
    """Train the tiny model in `run` of an empty folder, kept by W&B; return the run directory."""

    def keep_run(*words, resume=False, composed=None, logger=None, **send):
        settings = {**LOGGER, **(logger or {}), "send": send}
        try:
            start(*words, resume=resume, wandb=settings, composed=composed or {})
        finally:
            wandb.teardown()  # as when Python exits: then all is on disk
        return tmp_path / "run"

    return keep_run


@pytest.fixture
def deaf_server():
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def accept():
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for one in held:
            one.close()
