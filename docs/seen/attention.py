"""Where the rows that write a description look, and whether the row that names an object looks at it."""

from collections import defaultdict

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from tqdm.auto import tqdm

from docs.seen.questions import BATCH, n_batches
from docs.seen.rows import curves, figure_at, mean_of_shares, row, table
from vlm_lens import AttentionFlow, FlowReading, HookedVLM, Region
from vlm_lens.demo.evaluation.held_out import scenes
from vlm_lens.demo.evaluation.loaded import batches
from vlm_lens.demo.text import DESCRIBE
from vlm_lens.plotting import interval_lines

NAME, TITLE = "attention", "Where it looks while it describes"
MOST_NEW_TOKENS = 90
ALL = "all rows"
PRODUCES, HAS, EVEN = "row that produces the word", "row that has the word", "object's share of the patches"
"""Whose attention to the object is asked for; the last is what attention spread evenly over the picture gives."""


def measure(n: int, bar: tqdm) -> pd.DataFrame:
    """Columns: whose, group, layer, value, low, high, n; scenes count once, n of them.

    Over all rows that predict, the share of their attention that each group gets. Of the rows that name an object, the
    part of their attention to the picture that falls on that object.
    """
    vlm = HookedVLM.demo()
    found: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    bar.reset(total=n_batches(n))
    for some in batches(scenes(n), BATCH):
        inputs = vlm.prepare([scene.image for scene in some], [DESCRIBE] * len(some))
        regions = [[(one.kind, inputs.layout.region(one.mask, row=number)) for one in scene.objects]
                   for number, scene in enumerate(some)]  # fmt: skip
        flow = AttentionFlow(groups={"objects": [region for row in regions for _, region in row]}, rest="roles")
        reading = vlm.generate(inputs, flow, max_new_tokens=MOST_NEW_TOKENS)[flow]
        shares = reading.to_dataframe().groupby(["row", "group", "layer"], sort=False)["share"].mean()
        for (_, group, layer), share in shares.items():
            found[ALL, group.replace("image: elsewhere", "image outside objects"), layer].append(share)
        for number, named in enumerate(regions):
            for (whose, layer), values in on_named_objects(reading, number, named).items():
                found[whose, "the object", layer].append(float(np.mean(values)))
        bar.update()
    rows = [
        row(mean_of_shares(values), whose=whose, group=group, layer=layer)
        for (whose, group, layer), values in found.items()
    ]
    return pd.DataFrame(rows)


def on_named_objects(
    reading: FlowReading, number: int, named: list[tuple[str, Region]]
) -> dict[tuple[str, int], list[float]]:
    """By row and layer, for each object that is named, what part of the attention to the picture it gets."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for kind, region in named:  # the row before the word produced it
        places = reading.sequences.find(kind, row=number, occurrence=0)
        if not places:
            continue
        for whose, position in ((PRODUCES, places[0] - 1), (HAS, places[0])):
            weights = reading.at({number: [position]}).map(row=number).values.numpy()
            parts = weights[:, region.patches.numpy()].sum(axis=-1) / weights.sum(axis=(-2, -1))
            for layer, part in zip(reading.layers, parts, strict=True):
                found[whose, layer].append(float(part))
        for layer in reading.layers:
            found[EVEN, layer].append(len(region) / region.span.grid.n_patches)
    return found


def figure(rows: pd.DataFrame) -> go.Figure:
    """Shares by layer, and the part of the attention to the picture that is on the object being named."""
    layers = [str(layer) for layer in rows["layer"].unique()]
    of_all, naming = rows[rows["whose"] == ALL], rows[rows["whose"] != ALL]
    panels = {
        "all rows, share of attention": curves(of_all, "layer", "group"),
        "rows that name an object: part on it": curves(naming, "layer", "whose"),
    }
    return interval_lines(layers, panels, x_title="layer", y_title="mean over scenes", controls=(EVEN,), height=440)


def text(rows: pd.DataFrame) -> str:
    """The section."""
    of_all, naming = rows[rows["whose"] == ALL], rows[rows["whose"] != ALL]
    best = naming[naming["whose"] == PRODUCES].sort_values("value").iloc[-1]
    even = figure_at(naming, whose=EVEN, layer=best["layer"])
    image = of_all[of_all["group"].isin(["objects", "image outside objects"])].groupby("layer")["value"].sum()
    return f"""\
While it writes "Describe this image.", how much does each row give to the picture, to the objects in it, and to text?

```python
from vlm_lens import AttentionFlow

describing = vlm.prepare(example.scene.image, "Describe this image.")
animal = describing.layout.region(example.subject.mask)
flow = AttentionFlow(groups={{"object": animal}}, rest="roles")        # of the rows that predict
run = vlm.generate(describing, flow, max_new_tokens=40)
run[flow].plot()
run[flow].at(run.layout.find("cat")).map().plot(region=animal)       # where the row that has the word looks
```

All rows that predict, mean over heads, rows, then scenes:

{table(of_all, "layer", "group")}

Rows that name an object (its first mention): of their attention to the picture, the part that falls on its patches.

{table(naming, "layer", "whose")}

The picture gets between {image.min():.2f} (layer {image.idxmin()}) and {image.max():.2f} (layer {image.idxmax()})
of all attention. In layer {best["layer"]} the row that is about to name an object gives that object {best.value:.3f} of
what it gives to the picture, where attention spread evenly would give {even}: the look is aimed.
Attention says where a row reads, not what it does with what it reads; the knockouts below ask that. Nor is a mean over
rows one row: most rows of a description are about something else than a kind.
"""
