"""Who stands at a model besides the conditions of a shared run."""

from typing import Any, Final

from vlm_lens.model.hook_point import is_every_module_watched

SOMEBODY_ELSE: Final = "something else stands at the model"


def is_watched(model: Any) -> bool:
    """Whether a hook stands anywhere at a model: it would be shown rows of several variants side by side.

    Torch's own hooks count on the checkpoint's modules too: nobody can tell one that looks at each row by itself.
    """
    return is_every_module_watched() or any(
        one._forward_hooks or one._forward_pre_hooks or one._backward_hooks for one in model.modules()
    )
