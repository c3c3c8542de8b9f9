"""Generated tokens see only the image tokens that a clean run attended to most; descriptions compared by a judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from vlm_lens.data import Dataset, Example
from vlm_lens.errors import InputError
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.descriptions import chosen_pictures, continued, describing
from vlm_lens.experiments.experiment import Experiment, Grid, Rows
from vlm_lens.experiments.judged import JudgedOptions, compared_descriptions, judge_of
from vlm_lens.experiments.options import option
from vlm_lens.experiments.summary import Summary
from vlm_lens.experiments.top_k_context.summary import summary_of
from vlm_lens.interventions import AttentionKnockout, TopKContext
from vlm_lens.interventions.top_k_context import ORDERS, n_kept
from vlm_lens.probes import AttentionFlow


@dataclass(frozen=True)
class TopKContextOptions(JudgedOptions):
    """What can be chosen."""

    shares: tuple[float, ...] = option(
        (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
        "shares k of the image tokens that stay visible, int(k n) of n tokens in each layer; with none every image "
        "token is blocked",
    )
    controls: tuple[str, ...] = option(
        ("random",),
        "other tokens, as many: 'random' (drawn anew in each layer), 'bottom' (attended to least)",
        paper=(),
        quirk="The published figure has no control: that few tokens suffice says little if any few would do. By "
        "default as many tokens drawn at random are shown beside them.",
    )


class Kept(NamedTuple):
    """Which image tokens stay visible.

    Attributes:
        order: "top", "bottom" or "random".
        share: of the image tokens.
        n_kept: how many in each layer.
    """

    order: str
    share: float
    n_kept: int


class TopKContexts(Experiment):
    """How much of a description is left when generated tokens see only the most attended image tokens."""

    name = "top-k-context"
    paper = "Kaduri et al. 2025"
    figures = "Figures 9, A7"
    question = "How few image tokens do generated tokens need?"
    needs = "pictures"
    Options = TopKContextOptions

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """The pictures of the list asked for, or all.

        Raises:
            InputError: shares outside of 0 to 1, or a control that does not exist.
        """
        if not options.shares or not all(0 <= share < 1 for share in options.shares):
            raise InputError("Option 'shares'", "one or more from 0 to below 1", options.shares, "5% are 0.05.")
        if unknown := [one for one in options.controls if one not in ORDERS or one == "top"]:
            raise InputError("Option 'controls'", "'random', 'bottom' or none", unknown)
        return chosen_pictures(data, options)

    def facts(self, context: Context) -> Mapping[str, Any]:
        """Depth and the judge."""
        return {**super().facts(context), "judge": judge_of(context).fingerprint()}

    def grid(self, context: Context, example: Example) -> Grid:
        """Shares x orders, ranked by a description that sees everything."""
        options, inputs, flow = context.options, describing(context, example), AttentionFlow("predicting")
        clean = context.vlm.generate(inputs, flow, max_new_tokens=options.max_new_tokens)
        ranking = clean[flow].image_attention[0]
        conditions: dict[Kept, Any] = {}
        for order in ("top", *options.controls):
            for share in options.shares:
                n = n_kept(share, ranking.shape[1])
                if n == 0 and order != "top":
                    continue  # without any token left there is nothing to order
                seed = int(context.random(example.id, "image tokens", order, share).integers(2**31))
                conditions[Kept(order, share, n)] = (
                    TopKContext(share, ranking, queries=options.queries, order=order, seed=seed)
                    if n
                    else AttentionKnockout(options.queries, "image")
                )
        return Grid(inputs, conditions, continued(options))

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """A row for each description: the model's own, and those that see less."""
        return {"descriptions": [row for example in examples for row in self._descriptions(context, example)]}

    def _descriptions(self, context: Context, example: Example) -> list[dict[str, Any]]:
        grid = self.grid(context, example)
        own = Kept("all", 1.0, len(grid.inputs.layout.positions("image")))
        return compared_descriptions(context, example, grid, own)

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Figure 9 as a table and a figure, and the paper's claims."""
        return summary_of(rows["descriptions"], options, facts)
