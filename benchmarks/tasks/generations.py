"""A greedy continuation: as it is, and with the image closed to every row that produces a token."""

from benchmarks.conditions import PLAIN, Blocked, Condition, positions_of
from benchmarks.sizes import Sizes
from benchmarks.tasks.task import Task, text_of


def generation(sizes: Sizes) -> Task:
    fixed = {"static cache": lambda ours, condition: ours.generated(condition.changes, static_cache=True)}
    what = f"{sizes.new_tokens} greedy tokens"
    return Task("generation", what, (PLAIN,), text_of, variants=fixed, n_new=sizes.new_tokens)


def generation_blocked(sizes: Sizes) -> Task:
    image = positions_of(sizes, range(sizes.n_patches))
    every = tuple(range(sizes.decoder_layers))
    blocked = Blocked((sizes.n_positions - 1,), image, every, also_generated=True)
    return Task(
        "generation, image closed",
        f"{sizes.new_tokens} greedy tokens; the rows that produce them see no patch",
        (Condition("image -> generated", (blocked,)),),
        text_of,
        n_new=sizes.new_tokens,
    )
