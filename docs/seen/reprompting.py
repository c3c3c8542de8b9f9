"""Questions about a picture of which a context keeps a share."""

import pandas as pd
import plotly.graph_objects as go
from tqdm.auto import tqdm

from docs.seen.rows import cell, curves, row, table
from vlm_lens import HookedVLM
from vlm_lens.demo.evaluation.intervals import Figure
from vlm_lens.demo.evaluation.reprompting import reprompting
from vlm_lens.plotting.accuracy_by_share import accuracy_by_share

NAME, TITLE = "reprompting", "How much of a picture answers need"
TEXT = "text alone"
CONTEXTS = {("both", "top"): "text and the most attended", ("both", "random"): "text and random ones",
            ("image", "top"): "most attended, no text", ("image", "random"): "random, no text",
            ("whole", ""): "a full pass for each question", ("query", ""): TEXT,
            ("image", ""): "neither"}  # fmt: skip


def measure(n: int, bar: tqdm) -> pd.DataFrame:
    """Columns: context, kept (of the image tokens), n_tokens held in each layer, says_yes, value, low, high, n."""
    bar.reset(total=(n + 1) // 2)
    found = reprompting(HookedVLM.demo(), n, on_scene=lambda scene: bar.update())
    rows = [
        row(Figure(one.accuracy, one.low, one.high, one.n), context=CONTEXTS[one.variant, one.order],
            kept=f"{one.share:.0%}", n_tokens=one.n_tokens, says_yes=one.says_yes)
        for one in found.itertuples()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def cut(rows: pd.DataFrame) -> pd.DataFrame:
    """Those whose share was chosen."""
    return rows[rows["context"].isin([name for (_, order), name in CONTEXTS.items() if order])]


def figure(rows: pd.DataFrame) -> go.Figure:
    """Accuracy against the share kept."""
    chosen = cut(rows)
    shares = [float(one.removesuffix("%")) / 100 for one in chosen["kept"].unique()]
    levels = {name: float(rows[rows["context"] == name]["value"].iloc[0]) for name in (TEXT,)}
    return accuracy_by_share(shares, curves(chosen, "kept", "context"), levels)


def text(rows: pd.DataFrame) -> str:
    """The section."""
    whole, alone, nothing = (cell(rows[rows["context"] == name].iloc[0]) for name in list(CONTEXTS.values())[-3:])
    few = cut(rows)[cut(rows)["kept"] == "5%"].set_index("context")
    top, random = (few.loc[CONTEXTS["both", order]] for order in ("top", "random"))
    return f"""\
Describe a picture once, keep only the image tokens that the description attended to most, drop the rest: how many
questions can still be answered?

```python
context = vlm.compress(example.scene.image, prompt="Describe this image.", keep=0.05)
context.ask("Is there a cat in this image?").text
context.plot()
```

"Is there a X?", as many with yes as with no, two questions a scene. Right answers with a full pass for each question:
{whole}; from the prompt's text alone: {alone}; from neither text nor picture: {nothing}.

{table(cut(rows), "kept", "context", "image tokens kept")}

At 5% ({int(top.n_tokens)} positions in each layer, text included) the most attended answer {cell(top)}, as
many random ones {cell(random)}: the description looked where the objects are. It does not show that these tokens
are all that is needed: questions for colours, places and parts may need others. [Re-prompting](reprompting.md) says how
this differs from the large models of the paper.
"""
