"""What a reader of the figures must know: what was left out, and what the paper leaves open."""

from collections.abc import Mapping
from typing import Any

import pandas as pd


def notes(rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any], layer: int) -> tuple[str, ...]:
    """Counts of the filters, labels in pieces, and choices."""
    targets, regions = rows["targets"], rows["regions"]
    n_named = int(targets["is_named_while_hidden"].sum())
    hidden = (
        f"Named by a caption while hidden ({options.hides}): {n_named} of {len(targets)} objects, left out."
        if options.filters_captions
        else "Whether captions name hidden objects was not asked (filters_captions)."
    )
    n_unseen, n_skipped = int((regions["n_patches"] == 0).sum()), int((regions["aliases"] == 0).sum())
    last = "; ".join(f"{name} are layers {first} to {end}" for name, (first, end) in facts["last"].items())
    read = f"{facts['n_vision_layers_read']} of {facts['n_vision_layers']} layers of the vision tower feed the decoder"
    return (
        *facts["steps"],
        hidden,
        f"{len(regions)} part regions, of which {n_unseen} cover no patch and {n_skipped} have no label in this "
        "vocabulary.",
        *split_labels(regions, options.split_labels),
        f"Tables and bars are after decoder layer {layer} of {facts['n_layers']} (layer={options.layer}); the paper "
        "does not say which layer its table 3 is of."
        + (
            " The best layer was chosen on these pictures, so its score is too high." if options.layer == "best" else ""
        ),
        f"{read}, counted from 0; {last}; the paper's are the last 6, 12 and 18 of 24.",
        f"A patch belongs to a part that covers more than {options.threshold:g} of it. The class token and the part "
        f"{'still see' if options.keeps_class_token else 'no longer see'} each other in the vision tower; words before "
        f"the picture {'stay' if options.keeps_text else 'are hidden'} in the decoder.",
        f"Elsewhere: the exact mean, over as many patches ({options.null}) of the same picture, of their best score "
        f"({options.null_of}). Random logits: the expected score of independent patches, for several aliases that of "
        "the best of them, which is a lower bound.",
    )


def split_labels(regions: pd.DataFrame, choice: str) -> list[str]:
    """A sentence for each label that is no whole token."""
    parts = regions[["part", "pieces"]].rename(columns={"part": "label"})
    objects = regions[["class", "object_pieces"]].rename(columns={"class": "label", "object_pieces": "pieces"})
    split = pd.concat([parts, objects]).drop_duplicates()
    split = split[split["pieces"] != ""]
    done = "left out" if choice == "skip" else "read by its first piece"
    return [f"Label {one.label!r} is no whole token ({one.pieces}): {done}." for one in split.itertuples()]
