"""Where in the picture the named objects are: from the data's annotations, or from a text-prompted segmenter."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool

from vlm_lens.data import Example
from vlm_lens.experiments.localisation.named_tokens import phrase_of
from vlm_lens.metrics.judges import NamedObject, ObjectListJudge
from vlm_lens.segmenters import GivenMasks, MaskRule, Segmenter, chosen_mask
from vlm_lens.segmenters.selection import ChosenMask

Mask = Bool[np.ndarray, "height width"]


def masks_of(
    example: Example, details: Sequence[NamedObject], segmenter: Segmenter, rule: MaskRule
) -> list[ChosenMask]:
    """The mask of each detail, or why there is none; all instances of a kind are one mask.

    Args:
        example: the picture.
        details: what a description names.
        segmenter: one that takes the data's masks is given those whose name means the same.
        rule: which masks are left out.
    """
    if not details:
        return []
    phrases = [phrase_of(one) for one in details]
    known: dict[str, Mask] = {}
    if isinstance(segmenter, GivenMasks):
        annotated = annotated_masks(example)
        for one, phrase in zip(details, phrases, strict=True):
            if same := [mask for name, mask in annotated.items() if means_the_same(one.name, name)]:
                known[phrase] = np.logical_or.reduce(same)
    scores = segmenter.segment(example.image, phrases, known)
    return [chosen_mask(of_one, rule) for of_one in scores]


def annotated_masks(example: Example) -> dict[str, Mask]:
    """The pixels of each category and of each kind of part, all instances together."""
    found: dict[str, Mask] = {}

    def add(name: str, mask: Mask) -> None:
        found[name] = found[name] | mask if name in found else mask

    for annotation in example.annotations:
        add(annotation.category, annotation.mask)
        for name, mask in annotation.parts.items():
            add(name, mask)
    return found


@lru_cache(maxsize=4096)
def means_the_same(name: str, category: str) -> bool:
    """Whether a category is what a word names: by the list of synonyms that the offline judge has.

    >>> means_the_same("bike", "bicycle"), means_the_same("woman", "person"), means_the_same("cat", "dog")
    (True, True, False)
    """
    if name.lower() == category.lower():
        return True
    return bool(ObjectListJudge().compare(f"a {name}", f"a {category}").matched)
