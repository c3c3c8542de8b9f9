"""How well CLIP's focused read-out names an object: class token and object alone from a layer on.

    python benchmarks/focused_read_out.py

On the bundled CLIP and held-out scenes of three things, of which one, drawn at random, is asked for. Candidates are "a
photo of a cat." and so on for every kind, surface, background and part. Source of the read-out: CLIP alone, section 4.5
of the object part identification paper.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from vlm_lens import AttentionKnockout, HookedCLIP, LogitLens, Region
from vlm_lens.demo.evaluation.intervals import share
from vlm_lens.demo.scenes import BACKGROUNDS, KINDS, SURFACES, Scene, SceneObject, draw_scene
from vlm_lens.demo.text import photo_of
from vlm_lens.demo.text.grammar import part_names

N_SCENES, N_OBJECTS, FIRST_SEED, BATCH = 200, 3, 9_700_000, 25
NAMES = tuple(dict.fromkeys([*KINDS, *SURFACES, *BACKGROUNDS, *(part for kind in KINDS for part in part_names(kind))]))

Build = Callable[[list[Region]], list[Any]]


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


def measure(clip: HookedCLIP, scenes: list[Scene], asked: list[SceneObject], build: Build) -> str:
    """How often the object's name comes first, among the kinds and among all candidates, and its median rank."""
    candidates = clip.candidates([photo_of(name) for name in NAMES], names=NAMES)
    lens = LogitLens(targets=NAMES, tower="vision", candidates=candidates, positions="cls", layers=-1)
    n_right, ranks = 0, []
    for start in tqdm(range(0, len(scenes), BATCH), leave=False):
        batch, objects = scenes[start : start + BATCH], asked[start : start + BATCH]
        inputs = clip.prepare([Image.fromarray(scene.image) for scene in batch])
        regions = [inputs.region(one.mask, image=row) for row, one in enumerate(objects)]
        reading = clip.run(inputs, *build(regions), lens)[lens]
        for place, one in enumerate(objects):
            of_kinds = reading.target_log_probabilities[0, place, : len(KINDS)]
            n_right += KINDS[int(of_kinds.argmax())] == one.kind
            ranks.append(int(reading.target_ranks[0, place, NAMES.index(one.kind)]))
    n_first = sum(rank == 1 for rank in ranks)
    return f"{share(n_right, len(ranks))} | {share(n_first, len(ranks))} | {np.median(ranks):.0f}"


def main() -> None:
    clip, random = HookedCLIP.demo(), Random(0)
    scenes = [draw_scene(FIRST_SEED + seed, "heldout", N_OBJECTS) for seed in range(N_SCENES)]
    asked = [random.choice(scene.objects) for scene in scenes]
    n_layers = clip.vision.cfg.n_layers
    runs: dict[str, Build] = {"whole picture": lambda regions: []}
    runs |= {f"object alone from layer {layer}": focused(range(layer, n_layers)) for layer in range(n_layers)}
    runs["as many random patches from layer 4"] = at_random(focused(range(4, n_layers)))
    print(f"| read-out | first of {len(KINDS)} kinds | first of {len(NAMES)} names | median rank |\n|---|---|---|---|")
    for name, build in runs.items():
        print(f"| {name} | {measure(clip, scenes, asked, build)} |")


if __name__ == "__main__":
    main()
