"""The arrows of the architecture: web -> (wire) -> server -> clipcore -> torch, and none the other way."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("clipcore", "server")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imported(path):
    """All modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)  # which may be a module


def foreign(name):
    """The packages beyond the standard library that a module imports from."""
    return {module.partition(".")[0] for module in imported(MODULES[name])} - sys.stdlib_module_names


def allowed(name):
    """What a module may import beyond the standard library."""
    if name.startswith("clipcore"):
        extra = {
            "clipcore.link": {"websockets"},
            "clipcore.kernels.triton": {"triton"},
            "clipcore.kernels.blocks": {"triton"},
            "clipcore.kernels.unit_blocks": {"triton"},
            "clipcore.integrations.accelerate": {"accelerate"},
            "clipcore.integrations.lightning": {"lightning"},
            "clipcore.integrations.transformers": {"transformers"},
        }
        return {"torch", "clipcore"} | extra.get(name, set())
    if name == "server.protocol":
        return {"pydantic"}
    web = {"pydantic", "pydantic_settings", "fastapi", "starlette", "uvicorn", "click", "prometheus_client", "server"}
    trains = name == "server.worker" or name.startswith("server.workloads")
    extra = {"server.export": {"pyarrow"}}
    return web | ({"torch", "clipcore"} if trains else {"clipcore"}) | extra.get(name, set())


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_its_layer_may(name):
    """The engine knows torch alone, the wire pydantic alone, and only what trains inside the server knows torch."""
    assert foreign(name) <= allowed(name)


@pytest.mark.parametrize("name", ["server.store", "server.schema", "server.writer", "server.protocol"])
def test_history_needs_no_torch(name):
    """What keeps and reads history reaches no module that imports torch or the engine."""
    reached, queue = set(), [name]
    while queue:
        module = queue.pop()
        if module in reached or module not in MODULES:
            continue
        reached.add(module)
        queue += [found for found in imported(MODULES[module]) if found.startswith("server")]
    assert {"torch", "clipcore"} & {package for module in reached for package in foreign(module)} == set()


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("clipcore.integrations")])
def test_nothing_needs_an_integration(name):
    """A framework is imported by who asks for it."""
    assert not any(module.startswith("clipcore.integrations") for module in imported(MODULES[name]))


def test_only_the_store_knows_sql():
    """Statements are in server.sql and tables in server.schema: the rest of the server sees `server.store`."""
    words = ("SELECT ", "INSERT ", "DELETE FROM ", "CREATE TABLE ")
    knowing = {name for name, path in MODULES.items() if any(word in path.read_text() for word in words)}
    assert knowing == {"server.sql.writing", "server.sql.reading", "server.schema"}
