"""The activations of another run, and what their positions are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vlm_lens.attachments.naming.towers import Place
from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.attachments.running.run import GeneratedRun, Run
from vlm_lens.errors import ActivationError, HookError
from vlm_lens.layout import PictureLayout, TokenLayout
from vlm_lens.model.cache import ActivationCache


@dataclass(frozen=True, eq=False)
class Source:
    """Activations by name, with the layouts of what was run.

    Attributes:
        activations: a cache, or a mapping from hook names to tensors.
        layout: the positions of the decoder (or text tower); None where they are unknown.
        pictures: the pictures; None where they are unknown.
        logits: `[batch pos d_vocab]`, where the source is a plain run.
    """

    activations: Any
    layout: TokenLayout | None = None
    pictures: PictureLayout | None = None
    logits: Tensor | None = None

    @classmethod
    def of(cls, given: Any, layout: Any = None) -> "Source":
        """From a run or a generation with activations kept, a cache, or a mapping from hook names to tensors.

        Args:
            given: the run or its activations.
            layout: what the positions of a cache are, or inputs (or a run) that know; a run knows that by itself.

        Raises:
            ActivationError: a run that kept no activations.
            HookError: something else, inputs that were not run among it.
        """
        layout = _layout_of(layout)
        record = given.session.record if isinstance(given, Run | GeneratedRun) else None
        if record is not None:
            if given.cache is None:
                advice = "Run it with names_filter: vlm.run(inputs, names_filter=patch.hook_names(vlm))."
                raise ActivationError("Source kept no activations", "a run made with names_filter", given, advice)
            is_generated = isinstance(given, GeneratedRun)
            own = layout if isinstance(layout, TokenLayout) else record.layout
            return cls(given.cache, own, record.pictures, None if is_generated else given.logits)
        is_inputs = isinstance(given, Mapping) and ("input_ids" in given or "pixel_values" in given)
        if is_inputs or not isinstance(given, ActivationCache | Mapping):
            rule = "a run with names_filter, an ActivationCache, or {hook name: tensor}"
            advice = "Run it first: source = vlm.run(inputs, names_filter=hook)." if is_inputs else ""
            raise HookError("Source of activations", rule, type(given).__name__, advice)
        if isinstance(layout, PictureLayout):
            return cls(given, None, layout)
        return cls(given, layout, None if layout is None else PictureLayout.of(layout, 0))

    def check_has(self, names: Iterable[str], what: str) -> None:
        """Raise if an activation was not kept.

        Raises:
            ActivationError: with the `names_filter` that keeps them.
        """
        wanted = list(names)
        missing = [name for name in wanted if name not in self.activations]
        if missing:
            few = wanted if len(wanted) <= 3 else [*wanted[:2], ...]
            listed = ", ".join("..." if name is ... else repr(name) for name in few)
            advice = f"Run the source with names_filter=[{listed}] (hook_names(vlm) of this object lists them all)."
            held = f"{len(list(self.activations.keys()))} activations without {', '.join(missing[:3])}"
            raise ActivationError(what, "a source that kept every hook to be written", held, advice)

    def activation(self, name: str) -> Tensor:
        """An activation with its batch axis."""
        value: Tensor = self.activations[name]
        has_batch_axis = getattr(self.activations, "has_batch_dim", True) or name in self.activations.pictures
        return value if has_batch_axis else value[None]

    def sequences(self, place: Place, like: Sequences) -> Sequences | None:
        """The source's own sequences at a place, with as many class tokens as this run's; None where unknown."""
        if isinstance(like, PictureLayout):
            return None if self.pictures is None else self.pictures.with_class_tokens(like.n_class_tokens)
        return None if place == "none" else self.layout


def _layout_of(given: Any) -> TokenLayout | PictureLayout | None:
    """A layout: itself, or that of inputs or a run.

    Raises:
        HookError: for something that has none.
    """
    if given is None or isinstance(given, TokenLayout | PictureLayout):
        return given
    layout = getattr(given, "layout", getattr(given, "pictures", None))
    if not isinstance(layout, TokenLayout | PictureLayout):
        advice = "A run as the source knows its own: leave it out."
        raise HookError("source_layout", "a layout, such as inputs.layout", type(given).__name__, advice)
    return layout
