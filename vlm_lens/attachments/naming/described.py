"""Values in a few words, for the representation of what is attached."""

from typing import Any

import numpy as np
from torch import Tensor


def described(value: Any) -> str:
    """A value as it would be written, with tensors and long sequences by their shape."""
    if isinstance(value, Tensor):
        return f"Tensor({', '.join(map(str, value.shape))})" if value.ndim else repr(value.item())
    if isinstance(value, np.ndarray):
        return f"array({', '.join(map(str, value.shape))})"
    if isinstance(value, list | tuple) and len(value) > 8:
        brackets = "[]" if isinstance(value, list) else "()"
        return f"{brackets[0]}{', '.join(map(described, value[:3]))}, ... {len(value)} in all{brackets[1]}"
    if isinstance(value, list):
        return f"[{', '.join(map(described, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(described, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{described(key)}: {described(one)}' for key, one in value.items())}}}"
    return repr(value)
