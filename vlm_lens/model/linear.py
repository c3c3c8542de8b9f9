"""The checkpoint's linears: called as they are, and seen as TransformerLens's weights where they are plain."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vlm_lens.errors import WeightsError


def is_plain(linear: nn.Module) -> bool:
    """Whether a linear is `x @ weight.T + bias` and nothing more (not quantised, not wrapped by an adapter)."""
    weight = getattr(linear, "weight", None)
    return (
        isinstance(linear, nn.Linear)
        and type(linear).forward is nn.Linear.forward
        and isinstance(weight, Tensor)
        and weight.is_floating_point()
    )


def weight_of(linear: nn.Module, name: str) -> Float[Tensor, "d_out d_in"]:
    """A plain linear's weight.

    Raises:
        WeightsError: where the linear is quantised or wrapped.
    """
    if not is_plain(linear):
        raise WeightsError(
            f"{name} is not available",
            "a plain linear, whose weight is the whole map",
            f"a {type(linear).__name__} (quantised or wrapped)",
            "Load the checkpoint unquantised to read weights; activations and hooks work as they are.",
        )
    return linear.weight  # type: ignore[return-value]


def bias_of(linear: nn.Module, n: int) -> Float[Tensor, " d_out"]:
    """A linear's bias, zeros where it has none.

    Raises:
        WeightsError: where the linear is wrapped and its bias, if it has one, is out of sight.
    """
    bias = getattr(linear, "bias", None)
    if isinstance(bias, Tensor):
        return bias
    weight = weight_of(linear, "The bias")
    return torch.zeros(n, dtype=weight.dtype, device=weight.device)


def device_of(linear: nn.Module) -> torch.device | None:
    """Where a linear computes; None for one that holds its weights out of sight (packed by torch's quantisation)."""
    parameter = next(linear.parameters(), None)
    return None if parameter is None else parameter.device
