"""From scores to masks: where to cut, and which masks to leave out."""

from dataclasses import asdict, dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from vlm_lens.errors import InputError

NOTHING = -1
"""The label of a pixel that no text has."""


@dataclass(frozen=True)
class MaskRule:
    """Where scores are cut, and which masks are left out.

    The paper rejected masks by hand, "since they do not correspond well to the textual description or are of low
    quality". These bounds stand for that, and say so: what they leave out is counted, never shown to a person.

    Attributes:
        threshold: pixels of a larger score are the object.
        least_share: of the picture, in pixels; smaller masks are specks.
        largest_share: of the picture; larger masks are the background.
        least_score: of the mask's pixels on average; below it the segmenter is not sure of what it found.

    Raises:
        InputError: a number outside 0 to 1, or shares in the wrong order.
    """

    threshold: float = 0.5
    least_share: float = 0.001
    largest_share: float = 0.8
    least_score: float = 0.6

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise InputError(f"{name} of a mask", "a number from 0 to 1", value)
        if self.least_share > self.largest_share:
            got = f"{self.least_share} and {self.largest_share}"
            raise InputError("Shares of a mask", "least_share <= largest_share", got)


@dataclass(frozen=True, eq=False)
class ChosenMask:
    """A mask and what was thought of it.

    Attributes:
        mask: the pixels above the threshold; there also where it was rejected.
        share: of the picture.
        score: of its pixels on average; 0 where it has none.
        rejected: why it was left out: "empty", "too small", "too large", "unsure"; None where it was not.
    """

    mask: Bool[np.ndarray, "height width"] = field(repr=False)
    share: float
    score: float
    rejected: str | None


def chosen_mask(scores: Float[np.ndarray, "height width"], rule: MaskRule | None = None) -> ChosenMask:
    """The mask of one text's scores, and whether it is good enough.

    Args:
        scores: from 0 to 1.
        rule: where to cut and what to leave out; None takes the defaults.

    Source: "What's in the Image?", appendix C and figure A3.

    Example:
        >>> chosen_mask(np.zeros((4, 4))).rejected
        'empty'
    """
    rule = rule or MaskRule()
    mask = scores > rule.threshold
    share = float(mask.mean())
    score = float(scores[mask].mean()) if mask.any() else 0.0
    rejected = None
    if not mask.any():
        rejected = "empty"
    elif share < rule.least_share:
        rejected = "too small"
    elif share > rule.largest_share:
        rejected = "too large"
    elif score < rule.least_score:
        rejected = "unsure"
    return ChosenMask(mask, share, score, rejected)


def labels_of(
    scores: Float[np.ndarray, "text height width"], threshold: float = 0.5
) -> Int[np.ndarray, "height width"]:
    """For each pixel the text of the highest score, and `NOTHING` where none is above the threshold.

    Args:
        scores: from 0 to 1. Of equal scores the first text has the pixel.
        threshold: between an object and the background; -1 gives every pixel a text.
    """
    best = scores.argmax(axis=0)
    found: Int[np.ndarray, "height width"] = np.where(scores.max(axis=0) > threshold, best, NOTHING)
    return found
