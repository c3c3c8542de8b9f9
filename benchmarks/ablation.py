"""What the bundled model still says once an object, or as many other patches, no longer says anything.

    python benchmarks/ablation.py              # 150 held-out scenes, about three minutes on one core
    python benchmarks/ablation.py --n 1000

Each scene is asked for an object that it shows. Printed is P(Yes) among Yes and No, its mean over scenes with a 95%
interval, while patches at the projector's output are replaced. Register tokens are ablated where a picture has any.
Random patches lie outside the dilated object and are as many; a scene with too few left is passed over.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from random import Random

import numpy as np

from vlm_lens import (
    HookedVLM,
    Inputs,
    Mean,
    MeanAblation,
    MeanEstimator,
    NoiseAblation,
    Region,
    RegisterTokens,
    ResampleAblation,
    Writer,
    ZeroAblation,
)
from vlm_lens.demo.evaluation.held_out import scenes
from vlm_lens.demo.evaluation.intervals import mean as mean_with_interval
from vlm_lens.demo.text.turns import presence_question

N_OTHERS = 16
"""Pictures that vectors are drawn from; none of them is asked about."""


def conditions(vlm: HookedVLM, inputs: Inputs, thing: Region, mean: Mean, pool: object) -> dict[str, list[Writer]]:
    """Each condition by name."""
    registers = RegisterTokens()
    outliers = vlm.run(inputs, registers)[registers].region()
    grown = thing.dilate(1)
    random = (~grown).sample(len(grown), seed=0)
    return {
        "intact": [],
        "object at the mean": [MeanAblation(thing, mean)],
        "object + 1": [MeanAblation(grown, mean)],
        "object + 2": [MeanAblation(thing.dilate(2), mean)],
        "register tokens": [MeanAblation(outliers, mean, on_empty="skip")],
        "random, as many as object + 1": [MeanAblation(random, mean)],
        "object + 1 at zero": [ZeroAblation(grown)],
        "object + 1, noise of each vector's length": [NoiseAblation(grown)],
        "object + 1, noise like the data set": [NoiseAblation(grown, like=mean)],
        "object + 1, patches of other pictures": [ResampleAblation(grown, pool)],
        "random, patches of other pictures": [ResampleAblation(random, pool)],
    }


def asked(vlm: HookedVLM, n: int) -> Iterator[tuple[Inputs, Region]]:
    """Prompts about an object of each scene, with its patches."""
    choose = Random(0)
    for scene in scenes(n):
        found = choose.choice(scene.objects)
        inputs = vlm.prepare(scene.image, presence_question(found.kind))
        thing = inputs.layout.region(found.mask)
        if len(~thing.dilate(1)) >= len(thing.dilate(1)):
            yield inputs, thing


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=150)
    n = parser.parse_args().n
    vlm = HookedVLM.demo()
    pictures = [scene.image for scene in scenes(n + N_OTHERS)]
    mean = MeanEstimator(vlm).estimate(pictures[:n], shows_progress=False)
    others = vlm.prepare(pictures[n:], ["What?"] * N_OTHERS)
    pool = vlm.run_with_cache(others, names_filter="projector.hook_out")[1]
    tokens = [vlm.to_single_token(" Yes"), vlm.to_single_token(" No")]
    p_yes, n_patches = defaultdict(list), []
    for inputs, thing in islice(asked(vlm, n), n):
        n_patches.append((len(thing), len(thing.dilate(1))))
        for name, writers in conditions(vlm, inputs, thing, mean, pool).items():
            logits = vlm.run(inputs, *writers, only_last=True).logits[0, -1, tokens]
            p_yes[name].append(float(logits.softmax(dim=-1)[0]))
    print(f"{mean!r}; object {np.mean(n_patches, axis=0)[0]:.1f} patches, + 1 {np.mean(n_patches, axis=0)[1]:.1f}")
    for name, values in p_yes.items():
        print(f"  {name:45s} {mean_with_interval(np.array(values))}")


if __name__ == "__main__":
    main()
