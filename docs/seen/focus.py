"""CLIP asked about one object: class token and object see themselves alone from a layer on."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from PIL import Image
from tqdm.auto import tqdm

from docs.seen.rows import cell, curves, figure_at, median_with_interval, row, table
from vlm_lens import AttentionKnockout, HookedCLIP, LogitLens, Region
from vlm_lens.demo.evaluation.intervals import share
from vlm_lens.demo.evaluation.loaded import batches
from vlm_lens.demo.scenes import BACKGROUNDS, KINDS, SURFACES, SceneObject, draw_scene
from vlm_lens.demo.text import photo_of
from vlm_lens.demo.text.grammar import part_names
from vlm_lens.model.candidates import Candidates
from vlm_lens.plotting import interval_lines

NAME, TITLE = "focus", "What CLIP says of one object among three"
N_OBJECTS, FIRST_SEED, BATCH = 3, 9_700_000, 25
NAMES = tuple(dict.fromkeys([*KINDS, *SURFACES, *BACKGROUNDS, *(part for kind in KINDS for part in part_names(kind))]))
OF_KINDS, OF_NAMES, RANK = f"first of {len(KINDS)} kinds", f"first of {len(NAMES)} names", "median rank"
WHOLE, FOCUSED, RANDOM = "whole picture", "object alone", "as many random patches"
Build = Callable[[list[Region]], list[AttentionKnockout]]


def focused(layers: range) -> Build:
    """The class token and the object see themselves alone in some layers."""
    return lambda regions: [
        AttentionKnockout(["cls", *regions], [~region for region in regions], layers=layers, tower="vision")
    ]


def at_random(build: Build) -> Build:
    """The same for as many random patches."""
    random = np.random.default_rng(0)

    def drawn(region: Region) -> Region:
        patches = random.choice(region.span.grid.n_patches, len(region), replace=False)
        return replace(region, patch_ids=frozenset(patches.tolist()))

    return lambda regions: build([drawn(region) for region in regions])


def measure(n: int, bar: tqdm) -> pd.DataFrame:
    """Columns: read (whole picture ...), layers ("all" or "from 3"), of, value, low, high, n scenes."""
    clip, random = HookedCLIP.demo(), Random(0)
    scenes = [draw_scene(FIRST_SEED + seed, "heldout", N_OBJECTS) for seed in range(n)]
    asked = [(scene.image, random.choice(scene.objects)) for scene in scenes]
    n_layers = clip.vision.cfg.n_layers
    runs: dict[tuple[str, str], Build] = {(WHOLE, "from 0"): lambda regions: []}
    for layer in range(n_layers):
        build = focused(range(layer, n_layers))
        runs[FOCUSED, f"from {layer}"], runs[RANDOM, f"from {layer}"] = build, at_random(build)
    candidates = clip.candidates([photo_of(name) for name in NAMES], names=NAMES)
    bar.reset(total=len(runs))
    rows = []
    for (read, layers), build in runs.items():
        ranks, n_right = ranks_of_kinds(clip, candidates, asked, build)
        found = {OF_KINDS: share(n_right, n), OF_NAMES: share(ranks.count(1), n), RANK: median_with_interval(ranks)}
        rows += [row(figure, read=read, layers=layers, of=of) for of, figure in found.items()]
        bar.update()
    return pd.DataFrame(rows)


def ranks_of_kinds(
    clip: HookedCLIP, candidates: Candidates, asked: list[tuple[np.ndarray, SceneObject]], build: Build
) -> tuple[list[int], int]:
    """The rank of each object's name among all candidates, and how often it is first among the kinds."""
    lens = LogitLens(targets=NAMES, tower="vision", candidates=candidates, positions="cls", layers=-1)
    n_right, ranks = 0, []
    for some in batches(asked, BATCH):
        inputs = clip.prepare([Image.fromarray(image) for image, _ in some])
        regions = [inputs.region(one.mask, image=number) for number, (_, one) in enumerate(some)]
        reading = clip.run(inputs, *build(regions), lens)[lens]
        for place, (_, one) in enumerate(some):
            of_kinds = reading.target_log_probabilities[0, place, : len(KINDS)]
            n_right += KINDS[int(of_kinds.argmax())] == one.kind
            ranks.append(int(reading.target_ranks[0, place, NAMES.index(one.kind)]))
    return ranks, n_right


def figure(rows: pd.DataFrame) -> go.Figure:
    """Shares of first places by the layer from which on the object is alone."""
    order, panels = list(rows["layers"].unique()), {}
    for of in (OF_KINDS, OF_NAMES):
        found = curves(rows[rows["of"] == of], "layers", "read")
        whole = np.repeat(found.pop(WHOLE)[:1], len(order), axis=0)  # it has no layer: a level
        panels[of] = {FOCUSED: found[FOCUSED], RANDOM: found[RANDOM], WHOLE: whole}
    names, ranges = [one.removeprefix("from ") for one in order], dict.fromkeys(panels, (0.0, 1.03))
    return interval_lines(names, panels, x_title="alone from layer", y_title="share of objects", ranges=ranges,
                          controls=(RANDOM, WHOLE))  # fmt: skip


def text(rows: pd.DataFrame) -> str:
    """The section."""
    shown = rows[(rows["read"] == FOCUSED) | (rows["read"] == RANDOM) & (rows["of"] == OF_KINDS)]
    shown = shown.assign(column=shown["read"] + ": " + shown["of"])
    best = shown[shown["column"] == f"{FOCUSED}: {OF_KINDS}"].sort_values("value", kind="stable").iloc[-1]
    random = figure_at(rows, read=RANDOM, layers=best["layers"], of=OF_KINDS)
    whole = [figure_at(rows, read=WHOLE, of=of) for of in (OF_KINDS, OF_NAMES, RANK)]
    return f"""\
CLIP gives one vector for a picture. What does it say of one object, if from some layer on the class token and that
object's patches see each other and nothing else?

```python
from vlm_lens import AttentionKnockout, HookedCLIP, LogitLens
from vlm_lens.demo.scenes import KINDS

clip = HookedCLIP.demo()
names = clip.candidates([f"a photo of a {{kind}}." for kind in KINDS], names=KINDS)
pictures = clip.prepare(example.scene.image)
region = pictures.region(example.subject.mask)
focus = AttentionKnockout(["cls", region], ~region, layers=range(4, 6), tower="vision")
answer = LogitLens(tower="vision", candidates=names, positions="cls", layers=-1)
clip.run(pictures, focus, answer)[answer].top.tokens[0, 0]       # best first
```

Held-out scenes of three objects, of which one, drawn at random, is asked for; candidates are "a photo of a cat." and
so on for every kind, surface, background and part. The whole picture, which shows three of them, gives: {OF_KINDS}
{whole[0]}, {OF_NAMES} {whole[1]}, median rank {whole[2]}.

{table(shown, "layers", "column", "alone")}

Alone {best["layers"]} on, the object is first of the kinds in {cell(best)}; as many random patches in its place
give {random}. This is a read-out of a tower that was cut, not of the one that feeds the language model: what a
patch says with its surroundings is not in it. Source: CLIP alone, section 4.5 of the object part identification paper.
"""
