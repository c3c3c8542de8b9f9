"""Value ablation: some positions say what they are told to."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

from torch import Tensor

from vlm_lens.attachments import Here
from vlm_lens.attachments.verification.expected import looked_up
from vlm_lens.interventions.base_ablation import VectorAblation
from vlm_lens.interventions.base_vectors import own_vectors, vectors_for
from vlm_lens.layout import Selector


@dataclass(frozen=True, eq=False)
class ValueAblation(VectorAblation):
    """Puts given vectors in the place of some positions' activations; all others keep their bits.

    Attributes:
        positions: whose activations.
        vector: a number, or a tensor, array or list, of which it keeps a copy: `[*features]` for all positions,
            `[patch *features]` for each patch of a picture, `[pos *features]` for each absolute position, or a whole
            activation `[batch pos *features]`; `features` is `d_model`, or `head_index d_head` where heads are told
            apart. For several hooks a mapping from their names, which is held as it is.
        hook: a hook, several, or a pattern such as `"blocks.*.hook_resid_post"`.
        layers: of a pattern's matches; see `AttentionKnockout`.
        heads: at a hook that tells heads apart; None for all.

    Example:
        >>> from vlm_lens import ValueAblation
        >>> ValueAblation("last", 1.0, "blocks.2.hook_mlp_out")
        ValueAblation(positions='last', vector=1.0, hook='blocks.2.hook_mlp_out')
    """

    positions: Selector
    vector: Any
    hook: Any = "projector.hook_out"
    _: KW_ONLY
    layers: Any = "all"
    heads: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "vector", own_vectors(f"vector of {type(self).__name__}", self.vector))

    def vectors(self, hook_name: str) -> Tensor:
        """The vector, or that of this hook."""
        return vectors_for(repr(self), self.vector, hook_name)

    def expected(self, before: Tensor, here: Here) -> Tensor:
        """The vector looked up position by position, for `run.verify()`."""
        return looked_up(self.vector, self.positions, before, here)
