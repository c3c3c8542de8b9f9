"""The share of an object's patches whose likeliest token is its name, after every layer."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from vlm_lens.data import Annotation, Dataset, Example
from vlm_lens.data.filters import area_between, one_instance
from vlm_lens.data.target import Target, targets
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.correspondence.names import name_tokens
from vlm_lens.experiments.correspondence.options import CorrespondenceOptions
from vlm_lens.experiments.correspondence.states import top_tokens
from vlm_lens.experiments.correspondence.tables import summarised
from vlm_lens.experiments.experiment import Experiment, Rows
from vlm_lens.experiments.object_patches import object_region
from vlm_lens.experiments.prompts import asked
from vlm_lens.experiments.summary import Summary

DESCRIBE = "Describe this image."
"""What stands behind a picture changes nothing of its own positions: they see what is before them alone."""
PICTURE = 640 * 480


class Correspondence(Experiment):
    """The logit lens at the patches of an object, held against its name."""

    name = "correspondence"
    paper = "Neo et al. 2024"
    figures = "Figures 6, 7"
    question = "In which layers do the patches of an object say what it is?"
    needs = "pictures with masks of objects of middle size"
    Options = CorrespondenceOptions

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """Pictures with an object of the right size, of whose kind there is no other where that is asked for."""
        once = one_instance(data) if options.is_alone else data.about("no crowd", _is_no_crowd)
        if not options.scales_area:
            return area_between(once, options.least_area, options.most_area)
        low, high = options.least_area / PICTURE, options.most_area / PICTURE

        def fits(example: Example, target: Annotation) -> bool:
            return low < target.area / prod(example.size or example.image.size) < high

        return once.about(f"{low:.1%} < share of the picture < {high:.1%}", fits)

    def facts(self, context: Context) -> Mapping[str, Any]:
        """Depth, names that the tokenizer splits, and what the data's filters left."""
        words = sorted({one.category for example in context.data for one in example.targets})
        found = {word: name_tokens(context.vlm.tokenizer, word, context.options.match) for word in words}
        return {
            "n_states": context.vlm.cfg.n_layers + 1,
            "split": {word: list(one.pieces) for word, one in found.items() if one.pieces},
            "steps": [[step.name, step.n_before, step.n_after] for step in context.data.steps],
        }

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """A row for each object, and one for each of its states."""
        objects, states = [], []
        for example in examples:
            inputs = asked(context.vlm, example.image, DESCRIBE)
            tokens = top_tokens(context.vlm, inputs, context.options.norms_last_twice)
            span = inputs.layout.image_span()
            for target in targets([example]):
                region = object_region(span, target.annotation, context.options.geometry)
                own = region.patches.flatten().numpy()
                row, of_states = _rows(context, target, tokens, own)
                objects.append(row)
                states += of_states
        return {"objects": objects, "states": states}

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """The best layer and its share, the share by layer, both figures, and the paper's claims."""
        return summarised(rows, options, facts)


def _is_no_crowd(example: Example, target: Annotation) -> bool:
    return not target.is_crowd


def _rows(
    context: Context, target: Target, tokens: np.ndarray, own: Bool[np.ndarray, " patch"]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is known of an object, and the share of patches that name it in every state."""
    options, category = context.options, target.annotation.category
    named = np.isin(tokens, name_tokens(context.vlm.tokenizer, category, options.match).ids)
    row: dict[str, Any] = {"example": target.example.id, "target": target.id, "object": category}
    row |= {"n_patches": int(own.sum()), "best_state": None, "best_share": None, "best_share_elsewhere": None}
    if not own.any():  # the crop cut it away
        return row, []
    shares = named[:, own].mean(axis=1)
    elsewhere = named[:, ~own]
    states = [
        {"example": target.example.id, "target": target.id, "state": state, "share": float(share),
         "elsewhere": float(beside.mean()) if len(beside) else None}
        for state, (share, beside) in enumerate(zip(shares, elsewhere, strict=True))
    ]  # fmt: skip
    row |= {"best_state": int(shares.argmax()), "best_share": float(shares.max())}
    if elsewhere.shape[1]:
        row["best_share_elsewhere"] = _best_elsewhere(context, target, elsewhere, int(own.sum()))
    return row, states


def _best_elsewhere(context: Context, target: Target, named: Bool[np.ndarray, "state patch"], n_patches: int) -> float:
    """The share in the best state of as many other patches, the mean over draws: what the best of many layers gives."""
    random, n = context.random(target.id, "other patches"), min(n_patches, named.shape[1])
    drawn = [random.choice(named.shape[1], n, replace=False) for _ in range(context.options.n_draws)]
    return float(np.mean([named[:, one].mean(axis=1).max() for one in drawn]))
