"""The object's word in the residual stream, layer by layer: at its patches, at another object's, elsewhere."""

from collections import defaultdict
from collections.abc import Iterator
from functools import reduce
from operator import or_

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float
from tqdm.auto import tqdm

from docs.seen.questions import BATCH, n_batches
from docs.seen.rows import curves, figure_at, mean_of_shares, median_with_interval, row, table
from vlm_lens import HookedVLM, LogitLens, Region
from vlm_lens.demo.evaluation.held_out import scenes
from vlm_lens.demo.evaluation.loaded import batches
from vlm_lens.demo.scenes import KINDS
from vlm_lens.demo.text import DESCRIBE
from vlm_lens.plotting import interval_lines
from vlm_lens.probes import LensReading

NAME, TITLE = "lens", "What the stream at a patch says"
LEAST_COVERAGE = 0.5
OWN, OTHER, NONE = "its own patches", "patches of another object", "patches of no object"
PROBABILITY, OF_KINDS, OF_ALL, RANK = (
    "probability",
    f"first of {len(KINDS)} kinds",
    "first of all tokens",
    "median rank",
)


def measure(n: int, bar: tqdm) -> pd.DataFrame:
    """Columns: after ("projector", "layer 0" ...), where, of, value, low, high, n.

    A scene counts once: patches are averaged first, then its objects. n is of scenes that have such patches.
    """
    vlm = HookedVLM.demo()
    lens = LogitLens(top_k=1, targets={kind: f" {kind}" for kind in KINDS}, positions="image")
    found: dict[tuple[str, str], list[Float[np.ndarray, "measure state"]]] = defaultdict(list)
    bar.reset(total=n_batches(n))
    for some in batches(scenes(n), BATCH):
        inputs = vlm.prepare([scene.image for scene in some], [DESCRIBE] * len(some))
        reading = vlm.run(inputs, lens)[lens]
        for number, scene in enumerate(some):
            maps = Maps(reading, number)
            own = {one.kind: inputs.layout.region(one.mask, row=number) for one in scene.objects}
            core = {one.kind: inputs.layout.region(one.mask, row=number, threshold=LEAST_COVERAGE)
                    for one in scene.objects}  # fmt: skip
            of_scene = defaultdict(list)
            for kind, where, region in places(own, core):
                of_scene[where].append(maps.at(kind, region))
            for where, of_objects in of_scene.items():
                found[where].append(np.mean(of_objects, axis=0))
        bar.update()
    after = ["projector" if state == "embed" else f"layer {state}" for state in reading.states]
    rows = []
    for place, of in enumerate((PROBABILITY, OF_KINDS, OF_ALL, RANK)):
        for where in (OWN, OTHER, NONE):
            for number, state in enumerate(after):
                values = [one[place, number] for one in found[where]]
                figure = median_with_interval(values) if of == RANK else mean_of_shares(values)
                rows.append(row(figure, after=state, where=where, of=of))
    return pd.DataFrame(rows)


def places(own: dict[str, Region], core: dict[str, Region]) -> Iterator[tuple[str, str, Region]]:
    """For each object's word where it is read: a patch is an object's that covers at least half of it."""
    nothing = ~reduce(or_, own.values()).dilate(1)
    for kind in own:
        others = [core[other] for other in own if other != kind]
        regions = {OWN: core[kind], OTHER: reduce(or_, others) - own[kind] if others else None, NONE: nothing}
        yield from ((kind, where, region) for where, region in regions.items() if region is not None and len(region))


class Maps:
    """What the lens read of every kind at each patch of one picture."""

    def __init__(self, reading: LensReading, row: int) -> None:
        self.ranks, self.logs = (
            np.stack([reading.patches(value, kind, row=row) for kind in KINDS]) for value in ("rank", "log_probability")
        )

    def at(self, kind: str, region: Region) -> Float[np.ndarray, "measure state"]:
        """Means over the patches of a region, and the median rank."""
        here, number = region.patches.numpy(), KINDS.index(kind)
        ranks, logs = self.ranks[..., here], self.logs[..., here]
        return np.stack(
            [
                np.exp(logs[number]).mean(axis=-1),
                (logs.argmax(axis=0) == number).mean(axis=-1),
                (ranks[number] == 1).mean(axis=-1),
                np.median(ranks[number], axis=-1),
            ]
        )


def figure(rows: pd.DataFrame) -> go.Figure:
    """Probability and shares of first places by layer, one line for each kind of place."""
    panels = {of: curves(rows[rows["of"] == of], "after", "where") for of in (PROBABILITY, OF_KINDS)}
    places = [state.removeprefix("layer ") for state in rows["after"].unique()]
    return interval_lines(places, panels, x_title="after layer", y_title="mean over patches, objects, scenes")


def text(rows: pd.DataFrame) -> str:
    """The section."""
    last = rows["after"].iloc[-1]
    own = rows[rows["where"] == OWN]
    elsewhere = rows[(rows["where"] != OWN) & rows["of"].isin([PROBABILITY, OF_KINDS])]
    elsewhere = elsewhere.assign(column=elsewhere["where"] + ": " + elsewhere["of"])

    def at_last(where: str, of: str = OF_KINDS) -> str:
        return figure_at(rows, after=last, where=where, of=of)

    return f"""\
Does the residual stream at an object's patches come to spell the object, though these positions never predict a word?

```python
from vlm_lens import LogitLens

lens = LogitLens(targets={{"cat": " cat"}}, positions="image")
reading = vlm.run(inputs, lens)[lens]
reading.patches("probability", "cat")        # [state patch_row patch_col]
reading.plot(region=cat)
```

Each object's word, read at the patches of which the object covers at least half:

{table(own, "after", "of", "read after")}

The same word where it does not belong:

{table(elsewhere, "after", "column", "read after")}

It hardly does here. After the last layer the object's word is the first of the kinds at {at_last(OWN)} of
its own patches, at {at_last(OTHER)} of another object's and {at_last(NONE)} of those of no object; chance
is {1 / len(KINDS):.3f}. The words of a picture's objects come up a little, and not in their places. In LLaVA-1.5 7B
the object's word is the first of all tokens at 23.7% of its patches, at each picture's best layer (Neo et al., 2024,
figure 6). That the lens finds nothing is no proof that nothing is there: it sees only what the unembedding would make
of a patch, and the answers hang on these patches (the ablation above).
"""
