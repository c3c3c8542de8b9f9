"""Groups of positions by name, however they were given."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.layout import Except, Region, Selector


def named_groups(given: Any, what: str) -> dict[str, Selector]:
    """A name for each group of positions.

    Args:
        given: a mapping from names to selectors; a list of selectors, which are called what they say; or a single one.
        what: whose groups, for the error.

    Raises:
        InputError: two groups of one name, as two regions of one size.
    """
    if isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
        return dict(given)
    is_one = not isinstance(given, Iterable) or isinstance(given, str | Region | Except | Mapping | Tensor | np.ndarray)
    selectors = [given] if is_one else list(given)
    names = [one if isinstance(one, str) else repr(one) for one in selectors]
    if twice := [name for name in names if names.count(name) > 1]:
        advice = "Name them: {'cat': cat, 'dog': dog}."
        raise InputError(what, "groups with different names", f"{names.count(twice[0])} called {twice[0]}", advice)
    return dict(zip(names, selectors, strict=True))
