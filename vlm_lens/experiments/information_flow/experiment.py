"""Attention to the picture knocked out for query text, generated tokens or both; descriptions compared by a judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlm_lens.data import Dataset, Example
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.descriptions import chosen_pictures, continued, describing
from vlm_lens.experiments.experiment import Experiment, Grid, Rows
from vlm_lens.experiments.information_flow.knockouts import Blocked, first_layers, knockouts
from vlm_lens.experiments.information_flow.summary import summary_of
from vlm_lens.experiments.judged import JudgedOptions, compared_descriptions, judge_of
from vlm_lens.experiments.layer_windows import at_depth
from vlm_lens.experiments.options import option
from vlm_lens.experiments.summary import Summary


@dataclass(frozen=True)
class InformationFlowOptions(JudgedOptions):
    """What can be chosen."""

    window: tuple[int, int] = option((4, 20), "first and last layer, both in, that 'outside the window' leaves open")
    window_depth: int = option(
        32, "layers of the model that the window is given for; scaled to others (the paper: 4,20 of 32; 20,40 of 80)"
    )
    stride: int = option(1, "layers between the first layers of 'from layer l on'")
    text_has_last: bool = option(
        True,
        "whether the last row of the prompt, which is query text and produces the first generated token, is blocked by "
        "img -> txt",
    )


class InformationFlow(Experiment):
    """How much of a description is left when query text, generated tokens or both no longer see the picture."""

    name = "information-flow"
    paper = "Kaduri et al. 2025"
    figures = "Figures 2 (e, f), 5, A4, A8"
    question = "By which way, and in which layers, does the picture reach its description?"
    needs = "pictures"
    Options = InformationFlowOptions

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """The pictures of the list asked for, or all."""
        return chosen_pictures(data, options)

    def facts(self, context: Context) -> Mapping[str, Any]:
        """Depth, the window as it is here, the judge."""
        window = _window(context)
        return {
            "n_layers": context.vlm.cfg.n_layers,
            "window": [window[0], window[-1]],
            "judge": judge_of(context).fingerprint(),
        }

    def grid(self, context: Context, example: Example) -> Grid:
        """Knockouts x layers, each with a description."""
        options, n_layers = context.options, context.vlm.cfg.n_layers
        starts = first_layers(n_layers, options.stride)
        conditions = knockouts(n_layers, _window(context), starts, options.queries, options.text_has_last)
        return Grid(describing(context, example), conditions, continued(options))

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """A row for each description: the model's own, and that of each knockout."""
        return {"descriptions": [row for example in examples for row in self._descriptions(context, example)]}

    def _descriptions(self, context: Context, example: Example) -> list[dict[str, Any]]:
        own = Blocked("none", "none", context.vlm.cfg.n_layers)
        return compared_descriptions(context, example, self.grid(context, example), own)

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Figure 2 (e) and (f), as tables and figures, the first pictures' texts, and the paper's claims."""
        return summary_of(rows["descriptions"], options, facts)


def _window(context: Context) -> range:
    options = context.options
    return at_depth(options.window, options.window_depth, context.vlm.cfg.n_layers)
