"""A logit lens over all states and patches."""

from benchmarks.conditions import Condition
from benchmarks.sizes import Sizes
from benchmarks.tasks.task import Task, lens_of


def logit_lens(sizes: Sizes) -> Task:
    every = tuple(range(sizes.n_patches))
    return Task(
        "logit lens",
        f"best 5, entropy, one token's rank and probability: {sizes.decoder_layers + 1} states x {len(every)} patches",
        (Condition("plain", (), every),),
        lens_of,
        n_unembedded=(sizes.decoder_layers + 1) * len(every) + 1,
    )
