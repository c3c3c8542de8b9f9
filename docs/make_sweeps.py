"""Draw what a sweep computes, for docs/sweeps.md: the plan of six conditions on the bundled model, row by row.

    python -m docs.make_sweeps

The picture is drawn by a headless Chromium, and kept as it is where there is none.
"""

import base64
import json
from itertools import groupby
from pathlib import Path

import numpy as np

from tutorials.still_pictures import BROWSER, still_pictures
from vlm_lens import AttentionKnockout, Except, HookedVLM, Writer, ZeroAblation
from vlm_lens.demo.examples import example_scenes
from vlm_lens.plotting.rows_by_layer import rows_by_layer
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.variant import Variant

PICTURE = Path(__file__).parent / "images" / "sweep_ways.png"


class Unsaid(Writer):
    """A writer that does not say what it touches."""

    def hook_names(self, model):
        return ["blocks.2.hook_resid_post"]

    def write(self, activation, here):
        return activation


def computed(variant: Variant, n_layers: int, n: int) -> np.ndarray:
    """0 where a row is shared, 1 where its keys and values are made anew, 2 where it is computed."""
    if variant.reach.why_in_full:
        return np.full((n_layers, n), 2)
    kinds = np.zeros((n_layers, n), dtype=int)
    assert variant.decoder is not None
    for layer, (entered, asking) in enumerate(zip(variant.decoder.entered, variant.decoder.asking, strict=True)):
        if entered is not None:
            kinds[layer, entered] = 1
            kinds[layer, asking] = 2
    return kinds


def main() -> None:
    vlm, example = HookedVLM.demo(), example_scenes()[0]
    inputs = vlm.prepare(example.scene.image, "Is there a cat in this image?")
    cat = inputs.layout.region(example.subject.mask)
    words = Except("prompt_text", but=["last", *range(5)])
    rows = "rows: the object sees itself alone, and is read"
    conditions = {
        "as it is: changed where nobody reads": [AttentionKnockout(words, "image", layers=[5])],
        "rows: the object hidden from the last row": [AttentionKnockout("last", cat, layers=range(2, 4))],
        rows: [AttentionKnockout(cat, Except("prompt", but=cat), layers=range(1, 6))],
        "from a layer: everything changed in layer 3": [ZeroAblation("all", "blocks.3.hook_resid_pre")],
        "decoder: the object's features zero": [ZeroAblation(cat)],
        "by itself: a writer that does not say": [Unsaid()],
    }
    read = {rows: cat}
    panels = {}
    for name, objects in conditions.items():
        planned = Planned(vlm, inputs, [objects], read.get(name, "last"))
        panels[name] = computed(planned.variants[0], vlm.cfg.n_layers, planned.n)
    names = ["image" if role == "image" else "words" for role in inputs.layout.roles()]
    groups, start = [], 0
    for name, members in groupby(names):
        end = start + len(list(members))
        groups.append((name, start, end))
        start = end
    figure = rows_by_layer(panels, groups, n_columns=2)
    if BROWSER is not None:
        found = still_pictures([json.loads(figure.to_json())], BROWSER)[0]
        PICTURE.write_bytes(base64.b64decode(found))


if __name__ == "__main__":
    main()
