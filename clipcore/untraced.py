"""What torch.compile must call as it is."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch._compile import _disable_dynamo

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def untraced(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function or method that a compiled step leaves the graph for.

    Dynamo would trace it, and then not see what other threads change: its code for `fill_` goes on writing the number
    that it saw first (torch 2.13). Outside of compiled code this costs one call, and does not load Dynamo, which
    `torch.compiler.disable` would (4 s) and `torch._disable_dynamo` alone would at the first call.
    """
    disabled = _disable_dynamo(function)

    @functools.wraps(function)
    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        chosen: Callable[Arguments, Result] = disabled if torch.compiler.is_dynamo_compiling() else function
        return chosen(*arguments, **named)

    return call
