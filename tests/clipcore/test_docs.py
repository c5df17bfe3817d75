"""Every example in a docstring of the engine runs and gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

import clipcore

MODULES = [
    module.name
    for module in pkgutil.walk_packages(clipcore.__path__, "clipcore.")
    if not module.name.endswith(("__main__", "._cpu"))
]


@pytest.mark.parametrize("name", ["clipcore", *MODULES])
def test_examples_run(name):
    """With torch at hand, as a reader would have it."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{name} does not load here: {error}")
    import torch

    results = doctest.testmod(module, extraglobs={"torch": torch}, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0
