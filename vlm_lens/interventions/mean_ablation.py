"""Mean ablation: some positions say what they say on average."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

from torch import Tensor

from vlm_lens.attachments import Here
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.attachments.verification.expected import looked_up
from vlm_lens.estimates import Mean
from vlm_lens.interventions.base_ablation import VectorAblation
from vlm_lens.interventions.base_vectors import own_vectors, vectors_for
from vlm_lens.layout import Selector


@dataclass(frozen=True, eq=False)
class MeanAblation(VectorAblation):
    """Puts a mean over other inputs in the place of some positions' activations; all others keep their bits.

    What the positions share with every picture stays, what they say about this one goes. A mean over pictures is made
    by `MeanEstimator`.

    Attributes:
        positions: whose activations.
        mean: a `Mean`, which is refused with another model or preprocessing than it was made with; or a tensor, array
            or list, of which it keeps a copy: `[*features]` for all positions, `[patch *features]` for each patch of a
            picture, `[pos *features]` for each absolute position, or a whole activation `[batch pos *features]`;
            `features` is `d_model`, or `head_index d_head` where heads are told apart. For several hooks a `Mean` of
            these, or a mapping from their names, which is held as it is.
        hook: a hook, several, or a pattern such as `"blocks.*.hook_resid_post"`.
        layers: of a pattern's matches; see `AttentionKnockout`.
        heads: at a hook that tells heads apart; None for all.

    Source: Neo et al., "Towards Interpreting Visual Information Processing in Vision-Language Models", 2024, section 3:
        one mean over images and patches at the projector's output.

    Example:
        >>> import torch
        >>> from vlm_lens import MeanAblation
        >>> MeanAblation("image", torch.zeros(192))
        MeanAblation(positions='image', mean=Tensor(192))
    """

    positions: Selector
    mean: Any
    hook: Any = "projector.hook_out"
    _: KW_ONLY
    layers: Any = "all"
    heads: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "mean", own_vectors(f"mean of {type(self).__name__}", self.mean))

    def check(self, ground: Ground) -> None:
        """As every ablation; and a `Mean` must have been made with this model.

        Raises:
            EstimateError: it was made with another model or preprocessing, or these pictures are padded otherwise.
        """
        if isinstance(self.mean, Mean):
            self.mean.check(ground.model, ground.planned.pictures)
        super().check(ground)

    def vectors(self, hook_name: str) -> Tensor:
        """The mean, or that of this hook."""
        return vectors_for(repr(self), self.mean, hook_name)

    def expected(self, before: Tensor, here: Here) -> Tensor:
        """The mean looked up position by position, for `run.verify()`."""
        return looked_up(self.mean, self.positions, before, here)
