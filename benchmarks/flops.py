"""Multiplications and additions that a call really runs, counted as torch dispatches them."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

Value = TypeVar("Value")


def _attention_on_cpu(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return sdpa_flop_count(query, key, value)


CPU_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_on_cpu}
"""torch counts the fused attention of CUDA, but not that of the CPU. A causal one counts in full, as there."""


def counted(call: Callable[[], Value]) -> tuple[Value, int]:
    """The value of a call and the FLOPs of its matrix products, convolutions and fused attention."""
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        value = call()
    return value, counter.get_total_flops()
