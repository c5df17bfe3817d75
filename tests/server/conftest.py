"""Servers and stores that end with their test."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from server.cli import main
from server.settings import Settings
from server.store import Store
from tests.server.site import Process, Site


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CLIPCORE_{name.upper()}", raising=False)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Start a server with these settings; its database is the same for all servers of a test."""
    with ExitStack() as stack:

        def start(**given: Any) -> Site:
            return stack.enter_context(closing(Site(Settings(port=0, data_dir=tmp_path, **given))))

        yield start


@pytest.fixture(scope="module")
def serve_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """Start a server that all tests of a module share."""
    with ExitStack() as stack:

        def start(**given: Any) -> Site:
            settings = Settings(port=0, data_dir=tmp_path_factory.mktemp("data"), **given)
            return stack.enter_context(closing(Site(settings)))

        yield start


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    """A server with the default settings."""
    return serve()


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start server processes that end with the test; all of a test's have the same database and the same port."""
    processes = []
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])

    def start(**settings: str) -> Process:
        processes.append(Process(**{"PORT": port, "DATA_DIR": str(tmp_path / "data")} | settings))
        return processes[-1]

    yield start
    for process in processes:
        process.end(signal.SIGKILL)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "clipcore.db")) as opened:
        yield opened


@pytest.fixture
def cli(monkeypatch):
    """Run a command against a server; its exit code, output and error output."""

    def run(site, *arguments):
        monkeypatch.setenv("CLIPCORE_URL", site.url if hasattr(site, "url") else site)
        result = CliRunner().invoke(main, arguments)
        return result.exit_code, result.stdout, result.stderr

    return run
