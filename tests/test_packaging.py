"""What a wheel and a source distribution carry."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_package_is_shipped():
    """Each folder of clipcore/ and server/ with an __init__.py is listed, and web/ goes as server.web."""
    found = [
        path.parent.relative_to(ROOT) for top in ("clipcore", "server") for path in ROOT.glob(f"{top}/**/__init__.py")
    ]
    assert sorted(SETUPTOOLS["packages"]) == sorted([".".join(path.parts) for path in found] + ["server.web"])


def test_every_file_of_the_page_is_shipped():
    """The patterns of the package data cover web/ whole."""
    web = ROOT / "web"
    shipped = {path for pattern in SETUPTOOLS["package-data"]["server.web"] for path in web.glob(pattern)}
    assert {path for path in web.rglob("*") if path.is_file()} == shipped


def test_a_source_distribution_is_the_whole_tree():
    """Who has only that can run every test: folders and files at the top go along, and the README's pictures."""
    rules = [line.split() for line in (ROOT / "MANIFEST.in").read_text().splitlines() if not line.startswith("#")]
    grafted = {name for verb, *names in rules if verb == "graft" for name in names}
    included = {path for verb, *names in rules if verb == "include" for name in names for path in ROOT.glob(name)}
    readme = ROOT / "README.md"  # goes along by itself, as do the packages
    pictures = {ROOT / picture for picture in re.findall(r"\]\((docs/[^)]+)\)", readme.read_text())}
    files = {path for kind in ("*.md", "*.txt", "*.json", "*.yml", "*file") for path in ROOT.glob(kind)}
    assert grafted == {"benchmarks", "examples", "tests", "web"}
    assert included == files - {readme} | pictures


def test_each_target_is_an_image_of_its_own():
    """Nobody who asks for the GPU or for another torch is given the image that was built before."""
    composed = {
        name: yaml.safe_load((ROOT / name).read_text())["services"]["clipcore"]
        for name in ("docker-compose.yml", "docker-compose.gpu.yml")
    }
    targets = {service["build"]["target"]: service["image"] for service in composed.values()}
    assert targets == {"cpu": "clipcore:cpu${TORCH_INDEX+-other-index}", "gpu": "clipcore:gpu"}
    assert composed["docker-compose.yml"]["pull_policy"] == "build"
