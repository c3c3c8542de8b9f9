"""Which query rows of scores and pattern a pass must write out for its readers."""

from jaxtyping import Bool
from torch import Tensor

from vlm_lens.attachments.attachment import Reader, declares
from vlm_lens.attachments.naming.towers import place_of
from vlm_lens.attachments.running.current_pass import CurrentPass
from vlm_lens.attachments.running.ground import Ground


def is_local(reader: Reader) -> bool:
    """Whether a reader may be shown the rows that it asks for and no others."""
    return reader.is_local and declares(reader, "is_local", "read")


def rows_asked(reader: Reader, name: str, current: CurrentPass) -> tuple[int, ...] | None:
    """The query rows of a pass that a reader asks for at a hook, counted within the pass; None for all."""
    memo, key = current.memo, ("rows asked", id(reader))
    if key not in memo:
        memo[key] = reader.asked(Ground(current.model, current)), {}
    asked, found = memo[key]
    if asked is None:
        return None
    mask: Bool[Tensor, "batch pos"] = asked[name]
    if id(mask) not in found:
        start = current.columns(place_of(current.model, name), 0).start
        rows = mask[:, start:].any(dim=0).nonzero().flatten()
        found[id(mask)] = tuple(rows.tolist())
    rows_found: tuple[int, ...] = found[id(mask)]
    return rows_found
