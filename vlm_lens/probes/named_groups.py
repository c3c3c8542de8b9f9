"""Groups of positions by name, however they were given."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from vlm_lens.attachments.naming.described import described
from vlm_lens.layout import Except, Region, Selector


def named_groups(given: Any) -> dict[str, Selector]:
    """A name for each group of positions, as many as were given.

    Args:
        given: a mapping from names to selectors; a list of selectors, which are called what they say, and numbered
            where two would be called the same; or a single one.
    """
    if isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
        return dict(given)
    selectors = [given] if _is_one(given) else list(given)
    names = [_name(one) for one in selectors]
    counts, seen, groups = Counter(names), Counter[str](), {}
    for name, selector in zip(names, selectors, strict=True):
        seen[name] += 1
        groups[name if counts[name] == 1 else f"{name} ({seen[name]})"] = selector
    return groups


def _is_one(given: Any) -> bool:
    """Whether a selector was given, and not several."""
    if not isinstance(given, Iterable) or isinstance(given, str | Region | Except | Mapping | Tensor | np.ndarray):
        return True
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(one, bool | np.bool_) for one in given)


def _name(selector: Any) -> str:
    """A selector in a few words."""
    if isinstance(selector, str):
        return selector
    if isinstance(selector, Region):
        return f"{len(selector)} patches" + (f" of row {selector.row}" if selector.row else "")
    if isinstance(selector, Except):
        return f"{_name(selector.positions)} but {_name(selector.but)}"
    if isinstance(selector, Tensor | np.ndarray) and str(selector.dtype).endswith("bool"):
        return f"mask of {int(selector.sum())}"
    if isinstance(selector, list | tuple) and selector and _is_one(selector):
        return f"mask of {sum(map(int, selector))}"
    return described(selector)
