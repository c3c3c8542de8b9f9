"""The only import of transformer_lens: what its version 4 kept, and this package stands on."""

from transformer_lens import ActivationCache, FactoredMatrix
from transformer_lens.config import TransformerLensConfig
from transformer_lens.hook_points import HookPoint, LensHandle
from transformer_lens.HookedRootModule import HookedRootModule
from transformer_lens.utilities import Slice, SliceInput, get_act_name

__all__ = [
    "ActivationCache",
    "FactoredMatrix",
    "HookPoint",
    "HookedRootModule",
    "LensHandle",
    "Slice",
    "SliceInput",
    "TransformerLensConfig",
    "get_act_name",
]
