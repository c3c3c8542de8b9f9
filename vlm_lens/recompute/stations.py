"""Where a hook stands on the way through the model, and which rows its activation has there."""

from typing import Any, Final, Literal, NamedTuple

from vlm_lens.attachments.naming.towers import place_of, towers_of

Stage = Literal["patches", "vision", "projector", "decoder", "final"]
"""The stages of a run: patch embedding, blocks of the tower, projector, blocks of the decoder, norm and unembedding."""

Side = Literal["entering", "keyed", "asking"]
"""Within a layer: the stream that enters it; what gives keys and values; what belongs to rows that ask, and after."""

_ENTERING: Final = ("hook_resid_pre",)
_KEYED: Final = ("ln1.hook_scale", "ln1.hook_normalized", "attn.hook_k", "attn.hook_v", "attn.hook_rot_k")
_PER_HEAD: Final = ("hook_attn_in", "hook_q_input", "hook_k_input", "hook_v_input")
"""Under these every row of a pack would pass the linears once for each head."""


class Station(NamedTuple):
    """A hook's place on the way.

    Attributes:
        stage: see `Stage`.
        layer: the block it is in, in the stages of blocks; -1 for the stream before the first.
        side: see `Side`.
    """

    stage: Stage
    layer: int = -1
    side: Side = "entering"


def station_of(model: Any, name: str) -> Station | None:
    """Where a hook stands; None where rows are not recomputed one by one: each such condition is run in full."""
    place = place_of(model, name)
    if place == "patches":
        return Station("patches")
    if place == "features":
        return Station("projector")
    if place not in ("decoder", "vision"):
        return None
    tower = towers_of(model)[place]
    local, stage = name.removeprefix(tower.prefix), place
    if local == "hook_embed":
        return Station(stage)
    if local.startswith("blocks."):
        _, layer, rest = local.split(".", 2)
        if rest in _PER_HEAD:
            return None
        return Station(stage, int(layer), _side(rest))
    if place == "decoder" and local.startswith(("ln_final.", "unembed.")):
        return Station("final")
    return None


def _side(name_in_block: str) -> Side:
    if name_in_block in _ENTERING:
        return "entering"
    return "keyed" if name_in_block in _KEYED else "asking"
