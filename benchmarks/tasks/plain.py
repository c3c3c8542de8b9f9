"""A pass as it is: its logits, with the residual stream kept, with everything kept."""

from benchmarks.conditions import PLAIN
from benchmarks.sizes import Sizes
from benchmarks.tasks.task import Task


def forward(sizes: Sizes) -> Task:
    return Task(
        "forward",
        "the logits of every position",
        (PLAIN,),
        lambda rival, condition: rival.logits(),
        n_unembedded=sizes.n_positions,
    )


def residual_cache(sizes: Sizes) -> Task:
    return Task(
        "residual cache",
        "the logits, and the stream after every decoder layer",
        (PLAIN,),
        lambda rival, condition: rival.residual_cache(),
        n_unembedded=sizes.n_positions,
    )


def full_cache(sizes: Sizes) -> Task:
    return Task(
        "full cache",
        "the logits, and everything a tool can keep of both towers; compared where names are shared",
        (PLAIN,),
        lambda rival, condition: rival.full_cache(),
        n_unembedded=sizes.n_positions,
    )
