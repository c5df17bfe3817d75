"""A warning points at the user's line."""

from functools import partial

import pytest
from torch.utils import _pytree

from clipcore.warn import ClipWarning, tell


@pytest.mark.parametrize("call", [tell, lambda *told: _pytree.tree_map(partial(tell, category=told[1]), told[0])])
def test_the_first_line_that_is_neither_the_packages_nor_torchs_is_named(call):
    """Whether the user calls clipcore, or torch does in between."""
    with pytest.warns(ClipWarning, match="^look$") as caught:
        call("look", ClipWarning)
    assert [warning.filename for warning in caught] == [__file__]
