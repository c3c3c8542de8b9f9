"""Vectors that interventions are given: taken in any form, and held to the shape of a hook."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlm_lens.errors import HookError
from vlm_lens.estimates import Mean
from vlm_lens.model.cache import ActivationCache


def own_vectors(what: str, given: Any) -> Any:
    """Vectors to hold: a copy of a tensor, so that what is done to the given one later changes nothing.

    Gradients flow through the copy. Mappings, caches and means are held as they are.

    Raises:
        HookError: see `checked_vectors`.
    """
    vectors = checked_vectors(what, given)
    return vectors.clone() if isinstance(vectors, Tensor) else vectors


def checked_vectors(what: str, given: Any, advice: str = "") -> Any:
    """Vectors as a tensor, a number, or something that has them by the names of hooks.

    Raises:
        HookError: for something else.
    """
    if isinstance(given, Mapping | Mean | ActivationCache | Tensor | float | int) and not isinstance(given, bool):
        return given
    rule, got = "a tensor, an array, a list of numbers, or a mapping from hook names to these", type(given).__name__
    if isinstance(given, np.ndarray | np.number | list | tuple):
        try:
            return _as_tensor(given)
        except (TypeError, ValueError, RuntimeError):
            inside = [str(given.dtype)] if isinstance(given, np.ndarray | np.number) else map(_kind, given)
            raise HookError(what, rule, f"{got} of {', '.join(sorted(set(inside)))}", advice) from None
    raise HookError(what, rule, got, advice)


def vectors_for(what: str, given: Any, hook_name: str) -> Tensor:
    """The vectors of one hook: what was given for all, or the entry of a mapping.

    Raises:
        HookError: for a hook that the mapping has not.
    """
    if isinstance(given, Tensor | float | int):
        return torch.as_tensor(given)
    if hook_name not in given:
        names = ", ".join(list(given)[:8])
        raise HookError(what, f"hooks that vectors were given for ({names})", hook_name)
    vectors: Tensor = torch.as_tensor(checked_vectors(f"{what} at {hook_name}", given[hook_name]))
    return vectors


def check_vectors(what: str, vectors: Tensor, features: tuple[int, ...], n_axes: tuple[int, ...] = (0, 1, 2)) -> None:
    """Raise for vectors whose last axes are not those of a position's activation.

    Raises:
        HookError: with the shapes that fit.
    """
    n_before = vectors.ndim - len(features)
    if n_before not in n_axes or tuple(vectors.shape[n_before:]) != features:
        width = " ".join(map(str, features))
        forms = {0: f"[{width}]", 1: f"[pos {width}] or [patch {width}]", 2: f"[batch pos {width}]"}
        raise HookError(what, f"vectors {', '.join(forms[n] for n in n_axes)}", list(vectors.shape))


def check_finite(what: str, vectors: Tensor, dtype: torch.dtype) -> None:
    """Raise for vectors with a NaN or an infinity, or that become one in the precision of what they are written to.

    Raises:
        HookError: with how many there are.
    """
    n_bad, advice = int((~torch.isfinite(vectors)).sum()), ""
    got = f"{n_bad} of {vectors.numel()} components NaN or infinite"
    if not n_bad:
        n_bad = int((~torch.isfinite(vectors.to(dtype))).sum())
        largest = f"{torch.finfo(dtype).max:g}, the largest {str(dtype).removeprefix('torch.')}"
        got = f"{n_bad} of {vectors.numel()} components beyond {largest}"
        advice = "Load the model in float32 or bfloat16."
    if n_bad:
        raise HookError(what, "finite vectors", got, advice)


def _as_tensor(given: Any) -> Tensor:
    """Numbers as a tensor; a list of arrays or tensors is stacked."""
    if isinstance(given, np.ndarray):
        return torch.as_tensor(np.array(given))  # a copy: arrays may be read-only, or run backwards
    if isinstance(given, list | tuple) and any(isinstance(one, np.ndarray | Tensor) for one in given):
        return torch.stack([_as_tensor(one) for one in given])
    return torch.as_tensor(given)


def _kind(value: Any) -> str:
    return type(value).__name__
