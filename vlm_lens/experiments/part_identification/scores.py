"""From the ranks of a label at every patch to the score of a region, with its null."""

import numpy as np
from jaxtyping import Float

from vlm_lens.layout import Region
from vlm_lens.metrics.identifiability import identifiability, region_score
from vlm_lens.metrics.permutation_null import scattered_null, shifted_null
from vlm_lens.probes.lens.lens_reading import LensReading


def patch_scores(reading: LensReading, label: str, d_vocab: int) -> Float[np.ndarray, "state patch_row patch_col"]:
    """How identifiable a label is at every patch that was read; NaN at the others.

    Args:
        reading: with the label among its targets.
        label: the target.
        d_vocab: outputs of the unembedding.
    """
    ranks = reading.patches("rank", label)
    is_read = ~np.isnan(ranks)
    scores = np.full(ranks.shape, np.nan)
    scores[is_read] = identifiability(ranks[is_read].astype(np.int64), d_vocab)
    return scores


def scored(
    reading: LensReading, label: str, region: Region, d_vocab: int, null: str
) -> tuple[Float[np.ndarray, " state"], Float[np.ndarray, " state"]]:
    """The score of a region after every state, and what as many patches score elsewhere in the picture.

    Args:
        reading: with the label among its targets, at the region's patches at least.
        label: the target.
        region: at least one patch.
        d_vocab: outputs of the unembedding.
        null: of as many patches "scattered" over the rest of the picture, or of the region's shape "shifted". NaN where
            the rest of the picture was not read, or is smaller than the region.
    """
    scores = patch_scores(reading, label, d_vocab)
    patches = region.patches.numpy()
    found = region_score(scores, patches)
    if np.isnan(scores).any():
        return found, np.full_like(found, np.nan)
    return found, scattered_null(scores, patches) if null == "scattered" else shifted_null(scores, patches)
