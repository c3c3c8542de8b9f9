"""A reader that reduces each activation to its moments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from vlm_lens.attachments import Here, Read, Reader, Record
from vlm_lens.errors import EstimateError
from vlm_lens.estimates.moments import Moments
from vlm_lens.layout import Selector, TokenLayout


@dataclass(frozen=True, eq=False)
class MomentsReader(Reader):
    """Count, mean and squared deviation of some positions' activations, in one pass.

    Attributes:
        positions: which count.
        hook: hook names.
        per_position: keep the positions of a picture apart.
        dtype: what is summed in.
    """

    positions: Selector
    hook: Any
    per_position: bool
    dtype: torch.dtype

    def read(self, activation: Tensor, here: Here) -> Moments:
        """The moments of one activation.

        Raises:
            EstimateError: for a NaN or an infinity, or positions outside the pictures where these are kept apart.
        """
        values, is_seen = activation.detach(), here.rows(self.positions)
        if not bool(torch.isfinite(values[is_seen]).all()):
            advice = "Half precision overflows in some models: load it in float32 or bfloat16."
            raise EstimateError(f"Mean of {here.name}", "finite activations", "NaN or infinity", advice)
        if values.device.type == "mps":  # it has no float64
            values, is_seen = values.cpu(), is_seen.cpu()
        if self.per_position and isinstance(here.sequences, TokenLayout):
            values, is_seen = _by_picture(values, is_seen, here.sequences)
        return Moments.of(values, is_seen, self.per_position, self.dtype).to("cpu")

    def result(self, reads: Sequence[Read], record: Record) -> dict[str, Moments]:
        """The moments of each hook."""
        return {read.here.name: read.value for read in reads}


def _by_picture(values: Tensor, is_seen: Tensor, layout: TokenLayout) -> tuple[Tensor, Tensor]:
    """The positions of each picture as a row: patches, and a class token that was kept before them."""
    spans = [(row, slice(span.start, span.stop)) for row, spans in enumerate(layout.images) for span in spans]
    is_outside = is_seen.clone()
    for row, span in spans:
        is_outside[row, span] = False
    if bool(is_outside.any()):
        row, position = is_outside.nonzero()[0].tolist()
        got = f"position {position} of row {row}"
        raise EstimateError("Mean per position", "positions within pictures", got, "Choose positions='image'.")
    n_positions = {span.stop - span.start for _, span in spans}
    if len(n_positions) != 1:
        raise EstimateError("Mean per position", "pictures of one size", f"{sorted(n_positions)} positions")
    pictures = rearrange([values[row, span] for row, span in spans], "image pos ... -> image pos ...")
    return pictures, rearrange([is_seen[row, span] for row, span in spans], "image pos -> image pos")
