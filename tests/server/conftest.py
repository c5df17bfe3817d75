"""Servers and stores that end with their test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from server.settings import Settings
from server.store import Store
from tests.server.site import Site


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


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    """A server with the default settings."""
    return serve()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "clipcore.db")) as opened:
        yield opened
