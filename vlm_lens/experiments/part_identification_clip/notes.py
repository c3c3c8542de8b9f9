"""What a reader of CLIP's figures must know."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from vlm_lens.experiments.part_identification.notes import split_labels


def notes(rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any], first: int) -> tuple[str, ...]:
    """Counts, labels in pieces, and choices."""
    regions = rows["regions"]
    n_unseen, n_skipped = int((regions["n_patches"] == 0).sum()), int((regions["aliases"] == 0).sum())
    kind = "whole words" if options.candidates == "words" else "tokens"
    counted = "each sentence once" if options.distinct else "each token, sentences more than once"
    return (
        *facts["steps"],
        f"{len(regions)} part regions, of which {n_unseen} cover no patch and {n_skipped} have no label in this "
        "vocabulary.",
        *split_labels(regions, options.split_labels),
        f"Candidates: {facts['n_candidates']} {kind} of CLIP's vocabulary in {options.template!r}, {counted}; the "
        "probabilities of a label's aliases are summed before it is ranked.",
        f"From layer {first} on (counted from 0), class token and part see themselves and each other alone; before it "
        "nothing is blocked."
        + (" It was chosen on these pictures, so its score is too high." if options.from_layer == "best" else ""),
        "Elsewhere: the same, held to the part's shape at one other place of the picture, drawn at random among those "
        "that share no patch with it. Random logits: the expected score of one reading.",
        "Captions are no filter here: CLIP writes none.",
    )
