"""What all probes share that say, by gradients, how much the vector of each position counts for an answer."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments import Again, Measure
from vlm_lens.attachments.naming.hook_names import hook_names_of
from vlm_lens.attachments.naming.towers import OF_PICTURES, place_of
from vlm_lens.attachments.running.current_pass import CurrentPass, Sequences
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import EmptySelectionError, HookError
from vlm_lens.layout import Selector
from vlm_lens.model.hooked_root import position_axis
from vlm_lens.probes.answer import Target
from vlm_lens.probes.attribution.explained import Explained, check_explained
from vlm_lens.probes.attribution.patch_attribution import (
    Completeness,
    PatchAttribution,
    pictures_in,
    summed_over_features,
)


@dataclass(frozen=True, eq=False)
class VectorAttribution(Measure):
    """A measure that says how much the vector of each position, at some hook, counts for an answer.

    Attributes:
        target: a token as a string (`" Yes"`, with the space that it has in a sentence) or id, several for their mean
            logit, `{row: target}`, or None: what the model itself says. For CLIP, the number of a text.
        against: what is taken off, for a difference of logits.
        hook: whose vectors; by default those that the decoder is given for each patch.
        positions: which of them; the others keep their values and count 0.
        at: the position whose logit is explained, one in each row.
    """

    target: Target = None
    against: Target = None
    hook: str = "projector.hook_out"
    positions: Selector = "image"
    at: Selector = "last"

    def check(self, ground: Ground) -> None:
        """Everything that it names must exist.

        Raises:
            HookError: a hook that does not exist or has no vector for each position, a model without logits.
            EmptySelectionError: no positions, or a hook of pictures where there is text alone.
            InputError: a target that is no token.
        """
        hook_names_of(ground.model, self.hook)
        ground.model.known_name(self.hook)  # one alone, no pattern
        if place_of(ground.model, self.hook) in OF_PICTURES and ground.planned.pictures is None:
            advice = "For the tokens of a text: hook='hook_embed', positions='text'."
            raise EmptySelectionError(f"hook of {self!r}", f"a picture for {self.hook}", "text alone", advice)
        if self.hook.endswith(("hook_pattern", "hook_attn_scores", "hook_mask", "_image_embed", "_text_embed")):
            raise HookError(f"{self!r}", "a hook with a vector for each position", self.hook)
        ground.check_positions(self, [self.hook])
        check_explained(ground, self, self.target, self.against, self.at)

    def sequences(self, again: Again) -> Sequences:
        """The sequences whose positions the hook has."""
        run = CurrentPass(again.model, again.record.layout, again.record.pictures)
        found = run.sequences(place_of(again.model, self.hook))
        if found is None:
            raise HookError(f"{self!r}", "an input whose positions are known", "pixels or a stream")
        return found

    def is_chosen(self, activation: Tensor, sequences: Sequences) -> Tensor:
        """True at the chosen positions, in a shape that broadcasts to the activation's."""
        shape = [1] * activation.ndim
        axis = position_axis(self.hook)
        shape[0], shape[axis] = activation.shape[0], activation.shape[axis]
        return sequences.mask(self.positions).to(activation.device).view(shape)

    def attribution(
        self,
        again: Again,
        explained: Explained,
        values: Float[Tensor, "sequence pos *features"],
        answer: Float[Tensor, " row"],
        completeness: Completeness | None = None,
    ) -> PatchAttribution:
        """What was found, by position and picture."""
        sequences = self.sequences(again)
        pictures, row_of = pictures_in(sequences, again.record)
        signed, absolute = summed_over_features(values)
        is_text = place_of(again.model, self.hook) in ("decoder", "text")
        layout = again.record.layout
        tokens = layout.strings if is_text and layout is not None else ()
        return PatchAttribution(
            self.label, explained.names, answer.double().cpu().numpy(), signed, absolute, pictures, row_of,
            completeness, tokens, again.record.images,
        )  # fmt: skip
