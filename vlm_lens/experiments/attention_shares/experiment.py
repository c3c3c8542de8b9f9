"""The attention of the rows that produce a description, by kind of token, by image token and by patch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlm_lens.data import Dataset, Example
from vlm_lens.errors import InputError
from vlm_lens.experiments.attention_shares.reading import histogram_rows, map_rows, share_rows, tail_rows
from vlm_lens.experiments.attention_shares.summary import summary_of
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.descriptions import DescriptionOptions, chosen_pictures, describing, text_of
from vlm_lens.experiments.experiment import Experiment, Rows
from vlm_lens.experiments.options import option
from vlm_lens.experiments.shown_pictures import is_shown, picture_row
from vlm_lens.experiments.summary import Summary
from vlm_lens.probes import AttentionFlow


@dataclass(frozen=True)
class AttentionSharesOptions(DescriptionOptions):
    """What can be chosen."""

    text_has_bos: bool = option(
        False,
        "whether figure 1 counts the begin-of-sequence token as query text",
        paper=True,
        quirk="The published query text is every prompt token that is no image token, so that 'over 60% on text' holds "
        "the attention sink on the begin-of-sequence token. By default that token has a line of its own; the table "
        "gives both sums.",
    )
    histogram_of: str = option(
        "means",
        "what figure 8 counts: 'means' (each image token's attention, mean over the description's rows and heads) or "
        "'queries' (each row's, mean over heads); the paper does not say",
    )
    n_maps: int = option(3, "pictures whose maps are kept, the first ones", least=0)


class AttentionShares(Experiment):
    """What the rows that produce a description attend to, by layer."""

    name = "attention-shares"
    paper = "Kaduri et al. 2025"
    figures = "Figures 1, 4, 8, A5"
    question = "What do generated tokens attend to: which patches of the picture, the query text, each other?"
    needs = "pictures"
    Options = AttentionSharesOptions

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """The pictures of the list asked for, or all.

        Raises:
            InputError: an option that has no meaning.
        """
        if options.histogram_of not in ("means", "queries"):
            raise InputError("Option 'histogram_of'", "'means' or 'queries'", repr(options.histogram_of))
        return chosen_pictures(data, options)

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """Of each picture its description, shares by layer and role, the histogram; of the first ones maps too."""
        found: dict[str, list[dict[str, Any]]] = {}
        for example in examples:
            for name, rows in self._read(context, example).items():
                found.setdefault(name, []).extend({"example": example.id, **row} for row in rows)
        return found

    def _read(self, context: Context, example: Example) -> dict[str, list[dict[str, Any]]]:
        options, flow = context.options, AttentionFlow("predicting")
        run = context.vlm.generate(describing(context, example), flow, max_new_tokens=options.max_new_tokens)
        reading = run[flow]
        found = {
            "descriptions": [text_of(context, run)],
            "shares": share_rows(reading),
            "histogram": histogram_rows(reading, options.histogram_of),
            "tails": tail_rows(reading),
        }
        if is_shown(context, example, options.n_maps):
            found["maps"] = map_rows(reading)
            found["pictures"] = [picture_row(example, run.layout)]
        return found

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Figures 1, 4 and 8, their tables, and the paper's claims."""
        return summary_of(rows, options, facts)
