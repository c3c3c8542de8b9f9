"""Attention from the picture to the words, blocked in a sliding window of layers."""

from collections import defaultdict

import pandas as pd
import plotly.graph_objects as go
from tqdm.auto import tqdm

from docs.seen.questions import ON, PRESENCE, QUESTIONS, Batch, answered, n_batches, prepared, questions
from docs.seen.rows import curves, figure_at, mean_of_shares, row, table
from vlm_lens import AttentionKnockout, Except, HookedVLM
from vlm_lens.plotting import interval_lines

NAME, TITLE = "knockout", "How it gets from the picture to the answer"
WIDTH = 2
TO_LAST, TO_QUESTION, TO_BOTH = (
    "object + 1 to the last row",
    "object + 1 to the other words",
    "object + 1 to every word",
)
IMAGE, RANDOM = "picture to every word", "random, as many as object + 1, to every word"


def windows(n_layers: int) -> dict[str, object]:
    """Every window of layers, and all of them."""
    starts = range(n_layers - WIDTH + 1)
    return {f"{first}-{first + WIDTH - 1}": range(first, first + WIDTH) for first in starts} | {"all": "all"}


def knockouts(batch: Batch, layers: object) -> dict[str, AttentionKnockout]:
    """What may not see what; words before the picture never do."""
    others = Except("prompt_text", but="last")
    return {
        TO_LAST: AttentionKnockout("last", batch.grown, layers),
        TO_QUESTION: AttentionKnockout(others, batch.grown, layers),
        TO_BOTH: AttentionKnockout("prompt_text", batch.grown, layers),
        IMAGE: AttentionKnockout("prompt_text", "image", layers),
        RANDOM: AttentionKnockout("prompt_text", batch.random, layers),
    }


def measure(n: int, bar: tqdm) -> pd.DataFrame:
    """Columns: question, blocked, layers, value (P(right)), low, high, n; half as many scenes for each question."""
    vlm = HookedVLM.demo()
    n_each = max(n // 2, 2)
    bar.reset(total=2 * n_batches(n_each))
    rows = []
    for question in QUESTIONS:
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for batch in prepared(vlm, questions(vlm, question, n_each)):
            found["nothing", "none"] += answered(vlm, batch, question, [])["probability"].tolist()
            for name, layers in windows(vlm.cfg.n_layers).items():
                for blocked, knockout in knockouts(batch, layers).items():
                    found[blocked, name] += answered(vlm, batch, question, [knockout])["probability"].tolist()
            bar.update()
        for (blocked, layers), values in found.items():
            rows.append(row(mean_of_shares(values), question=question, blocked=blocked, layers=layers))
    return pd.DataFrame(rows)


def figure(rows: pd.DataFrame) -> go.Figure:
    """P(right) by window, a panel for each question."""
    rows = rows[rows["blocked"] != "nothing"]
    panels = {one: curves(rows[rows["question"] == one], "layers", "blocked") for one in QUESTIONS}
    names = list(rows["layers"].unique())
    ranges = dict.fromkeys(panels, (0.0, 1.03))
    return interval_lines(names, panels, x_title="blocked in layers", y_title="P(right answer)", ranges=ranges,
                          apart=("all",), controls=(RANDOM,), height=420)  # fmt: skip


def text(rows: pd.DataFrame) -> str:
    """The section."""
    tables = []
    for question in QUESTIONS:
        here = rows[(rows["question"] == question) & (rows["blocked"] != "nothing")]
        free = figure_at(rows, question=question, blocked="nothing")
        tables.append(f'"{question}", P(right); with nothing blocked {free}:\n\n{table(here, "layers", "blocked")}')
    together = "\n\n".join(tables)

    def p(blocked: str, question: str, layers: str = "all") -> str:
        return figure_at(rows, question=question, blocked=blocked, layers=layers)

    return f"""\
In which layers do words fetch the object, and which words? Block the edges, two layers at a time.

```python
from vlm_lens import AttentionKnockout, Except

words = Except("prompt_text", but="last")
to_last = AttentionKnockout("last", near, layers=range(2, 4))
to_question = AttentionKnockout(words, near, layers=range(2, 4))
vlm.run(inputs, to_last, to_question).verify()        # proves that the edges were gone, and no others
```

The last row is the one that answers. Words before the picture never see it.

{together}

The two questions take two ways. Whether a kind is there comes by the words before the last: with the object hidden from
them in all layers P(right) is {p(TO_QUESTION, PRESENCE)}, hidden from the last row alone
{p(TO_LAST, PRESENCE)}. What is on a surface the last row looks up itself: hidden from it
{p(TO_LAST, ON)}, from the other words {p(TO_QUESTION, ON)}. As many random patches hidden from every word leave
{p(RANDOM, PRESENCE)} and {p(RANDOM, ON)}. A window in which nothing is lost may still carry the object, where
other layers carry it too: {worst(rows, PRESENCE)} and {worst(rows, ON)} hurt most, and all
layers together more. Nor is an edge the only way: other patches, too, have seen the object by then. And a No to the
first question may say that nothing was found, not that something was seen to be absent.
"""


def worst(rows: pd.DataFrame, question: str) -> str:
    """The window that costs a question most, with what it leaves, when the object is hidden from every word."""
    chosen = rows[(rows["question"] == question) & (rows["blocked"] == TO_BOTH) & (rows["layers"] != "all")]
    lowest = chosen.sort_values("value", kind="stable").iloc[0]
    return f"layers {lowest['layers']} ({lowest.value:.3f})"
