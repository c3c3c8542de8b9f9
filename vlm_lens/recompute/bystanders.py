"""Who stands at a model besides the conditions of a shared run."""

from typing import Any, Final

SOMEBODY_ELSE: Final = "something else stands at the model"


def is_watched(model: Any) -> bool:
    """Whether a hook stands anywhere at a model: it would be shown rows of several variants side by side.

    Hooks inside the checkpoint's own modules are not counted: they are part of how these compute.
    """
    ours = (one for one in model.modules() if type(one).__module__.startswith("vlm_lens."))
    return any(one._forward_hooks or one._forward_pre_hooks or one._backward_hooks for one in ours)
