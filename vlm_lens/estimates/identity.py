"""Which model, and which preprocessing of pictures: told by their contents, wherever they were loaded from."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from vlm_lens.attachments.naming.fingerprint import fingerprint_of
from vlm_lens.attachments.naming.towers import towers_of
from vlm_lens.layout import pads_to_square

_BLOCK = 1 << 17
"""Values of a parameter that are summed together: few enough for a processor's cache."""

_OF_CONFIG = (
    "n_layers", "d_model", "n_heads", "n_key_value_heads", "d_head", "d_mlp", "act_fn", "normalization_type", "eps",
    "attention_dir", "window_sizes", "attn_scale", "rotary_dim", "rotary_base", "has_class_token", "image_size",
    "patch_size",
)  # fmt: skip

_OF_PREPROCESSING = (
    "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor", "do_normalize",
    "image_mean", "image_std", "do_convert_rgb", "do_pad", "pad_size",
)  # fmt: skip

_known: WeakKeyDictionary[nn.Module, tuple[Any, str]] = WeakKeyDictionary()


def name_of(model: Any) -> str:
    """What a model is called in errors."""
    names = [tower.transformer.cfg.model_name for tower in towers_of(model).values()]
    return next((name for name in names if name), type(model).__name__)


def hash_of(model: Any) -> str:
    """16 hexadecimal digits that tell a model from others: its towers' configs and every value of each parameter.

    The values are compared in bfloat16, so that a checkpoint is itself in fp32 and in bfloat16, and in fp16 where it
    was stored in one of the short forms. Device, names on disk and hooks make no difference. Worked out once, and again
    after a parameter was changed.
    """
    parameters = list(model.named_parameters())
    state = [(name, one.data_ptr(), one._version) for name, one in parameters]
    if model in _known and _known[model][0] == state:
        return _known[model][1]
    towers = {
        name: {field: getattr(tower.transformer.cfg, field) for field in _OF_CONFIG}
        for name, tower in towers_of(model).items()
    }
    found = fingerprint_of([towers, getattr(model, "features", None), [(n, _checksums(p)) for n, p in parameters]])
    _known[model] = state, found
    return found


def preprocessing_of(model: Any) -> dict[str, Any] | None:
    """The settings that say what becomes of a picture; None for a model without an image processor."""
    image_processor = getattr(getattr(model, "processor", None), "image_processor", None)
    if image_processor is None:
        return None
    settings = image_processor.to_dict() if hasattr(image_processor, "to_dict") else vars(image_processor)
    chosen = {name: settings[name] for name in _OF_PREPROCESSING if settings.get(name) is not None}
    plain: dict[str, Any] = json.loads(json.dumps(chosen, sort_keys=True, default=_as_plain))
    return plain


def pads_by_itself(model: Any) -> bool:
    """Whether the model's image processor makes every picture a square."""
    return pads_to_square(getattr(getattr(model, "processor", None), "image_processor", None))


def _as_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return {name: one for name, one in vars(value).items() if one is not None} if hasattr(value, "__dict__") else (
        str(value)
    )  # fmt: skip


@torch.no_grad()
def _checksums(parameter: Tensor) -> Any:
    """The shape, and a sum for each block of values: of their bits in bfloat16, each times a number of its own.

    Integers that wrap add up to the same in any order, on any device; the numbers tell places apart.
    """
    shape = tuple(parameter.shape)
    if parameter.is_meta:  # offloaded: its values are elsewhere
        return shape
    values = parameter.detach().reshape(-1)
    weights = _weights().to(values.device)
    sums = [_sum_of_bits(block, weights) for block in values.split(_BLOCK)]
    return shape, torch.stack(sums).cpu()


def _sum_of_bits(values: Tensor, weights: Tensor) -> Tensor:
    bits = values.to(torch.bfloat16).view(torch.int16) if values.is_floating_point() else values
    return (bits.to(torch.int64) * weights[: len(bits)]).sum()


@cache
def _weights() -> Tensor:
    """Odd numbers without a pattern, the same in every process and version of the libraries."""
    return torch.from_numpy(np.random.PCG64(0).random_raw(_BLOCK).view(np.int64) | 1)
