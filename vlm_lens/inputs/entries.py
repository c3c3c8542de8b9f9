"""The entries of a mapping that a processor returned, checked for their form alone."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.errors import InputError

_TAKEN = frozenset({"input_ids", "attention_mask", "pixel_values"})
# What processors add and a causal decoder does not read.
_IGNORED = frozenset({"token_type_ids", "mm_token_type_ids", "labels"})


class Entries(NamedTuple):
    """What a transformers model is called with."""

    input_ids: Int[Tensor, "batch pos"]
    attention_mask: Int[Tensor, "batch pos"]
    pixel_values: Float[Tensor, "image channel height width"] | None


def entries_of(mapping: Mapping[str, object], max_length: int | None = None) -> Entries:
    """The tensors of a mapping; a missing attention mask means that nothing is padding.

    Args:
        mapping: `input_ids`, and perhaps `attention_mask` and `pixel_values`.
        max_length: the positions that the decoder has.

    Raises:
        InputError: missing, unknown or misshapen entries, a row longer than the context.
    """
    unknown = sorted(set(mapping) - _TAKEN - _IGNORED)
    if "input_ids" not in mapping or unknown:
        advice = f"Leave out {', '.join(unknown)}." if unknown else ""
        rule = "input_ids, attention_mask and pixel_values"
        raise InputError("Mapping is not understood", rule, sorted(mapping), advice)
    input_ids = _integers(mapping["input_ids"], "input_ids")
    mask = mapping.get("attention_mask")
    attention_mask = torch.ones_like(input_ids) if mask is None else _integers(mask, "mask")
    if attention_mask.shape != input_ids.shape:
        raise InputError(
            "Attention mask does not match input_ids",
            str(list(input_ids.shape)),
            list(attention_mask.shape),
            "Pass the 2-D mask: 1 for a token, 0 for padding.",
        )
    if max_length is not None and input_ids.shape[1] > max_length:
        raise InputError("Prompt is longer than the context", f"at most {max_length} positions", input_ids.shape[1])
    return Entries(input_ids, attention_mask, _pixels(mapping.get("pixel_values")))


def _integers(value: object, name: str) -> Int[Tensor, "batch pos"]:
    tensor = torch.as_tensor(value)
    if tensor.ndim == 1:
        tensor = tensor[None]
    if tensor.ndim != 2 or tensor.is_floating_point() or tensor.numel() == 0:
        raise InputError(
            f"{name} is not understood", "integers [batch pos]",
            f"{tensor.dtype} {list(tensor.shape)}",
        )  # fmt: skip
    return tensor.long()


def _pixels(value: object) -> Float[Tensor, "image channel height width"] | None:
    if value is None:
        return None
    pixels = torch.as_tensor(value)
    if pixels.ndim == 3:
        pixels = pixels[None]
    if pixels.ndim != 4 or not pixels.is_floating_point():
        got = f"{pixels.dtype} {list(pixels.shape)}"
        raise InputError("pixel_values is not understood", "floats [image channel height width]", got)
    return pixels
