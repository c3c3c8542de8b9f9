"""What can be told of attached objects before anything runs."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from vlm_lens.attachments.attachment import Attachment, Writer
from vlm_lens.errors import HookError


def check_objects(objects: tuple[Any, ...]) -> None:
    """Raise for what cannot be attached.

    Raises:
        HookError: something that is no attachment, one that stands at no hook, a probe given twice.
    """
    for place, one in enumerate(objects):
        if not isinstance(one, Attachment):
            is_several = isinstance(one, list | tuple)
            advice = "Unpack them: vlm.run(inputs, *objects)." if is_several else "Build one: LogitLens()."
            raise HookError("Attaching failed", "interventions and probes", repr(one), advice)
        if one.on_empty not in ("raise", "skip"):
            raise HookError(f"on_empty of {one.label}", "'raise' or 'skip'", repr(one.on_empty))
        if not isinstance(one, Writer) and any(one is other for other in objects[:place]):
            raise HookError("Attaching failed", "each probe once", repr(one), "Make a second one; both keep apart.")


def warn_of_unreachable(
    model: Any, objects: Sequence[Attachment], hook_names: Mapping[int, Sequence[str]], stacklevel: int
) -> None:
    """Warn of writers that stand only where nothing is read any more: behind the vision tower's selected layer."""
    behind = {point.name for point in getattr(model, "behind_features", ())}
    for one in objects:
        names = hook_names[id(one)]
        if isinstance(one, Writer) and names and behind.issuperset(names):
            warnings.warn(
                f"{one!r} can reach nothing: {names[0]} and all its other hooks lie behind the layer of the "
                "vision tower that the decoder is given.",
                stacklevel=stacklevel + 1,
            )
