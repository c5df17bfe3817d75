"""Where the page's files are."""

from pathlib import Path


def web() -> Path:
    """`web/`, which an installed distribution carries inside this package."""
    here = Path(__file__).parents[1]
    installed = here / "web"
    return installed if installed.is_dir() else here.parent / "web"
