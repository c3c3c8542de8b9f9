"""The floor: which rows a change can alter, next to the rows that it does alter, and times worked out by hand."""

import pytest
import torch

from benchmarks.conditions import Blocked, Condition, Replaced, positions_of, text_positions, thing
from benchmarks.floor import Floor, Rates, Shapes
from benchmarks.rivals import Setup
from benchmarks.rivals.plain import Transformers
from benchmarks.tasks.task import changed_rows
from tests.benchmarks.tiny import TINY

CHANGES = {
    "object -> last": Blocked((TINY.n_positions - 1,), positions_of(TINY, thing(TINY)), (1, 2)),
    "image -> text": Blocked(text_positions(TINY), positions_of(TINY, range(TINY.n_patches)), (2,)),
    "object": Replaced(thing(TINY), torch.ones(TINY.d_model)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_rows_that_a_change_alters_are_those_that_the_floor_counts(name: str, setup: Setup) -> None:
    rival = Transformers(setup, "sdpa")

    def states(changes: tuple[Blocked | Replaced, ...]) -> list[torch.Tensor]:
        with rival.changed(changes), rival._states() as kept:
            rival.logits()
        return [one[0] for one in kept[1:]]

    changed, clean = states((CHANGES[name],)), states(())
    altered = [int((one != other).any(-1).sum()) for one, other in zip(changed, clean, strict=True)]

    counted = changed_rows(TINY, [Condition(name, (CHANGES[name],))])

    assert list(counted[:-1]) == altered[:-1]  # of the last layer only the last row is read
    assert counted[-1] == 1


def test_rows_of_several_conditions_add_up() -> None:
    conditions = [Condition(name, (change,)) for name, change in CHANGES.items()]
    alone = [changed_rows(TINY, [one]) for one in conditions]
    assert changed_rows(TINY, conditions) == tuple(map(sum, zip(*alone, strict=True)))


def test_a_map_takes_its_products_or_the_reading_of_its_weights_whichever_is_longer() -> None:
    shape = Shapes(TINY).unembedding
    n_weights = shape[0] * shape[1]
    floor = Floor(TINY, Rates({shape: 1e9}, attention=1e9, memory=1e8))

    assert floor.linear(1000, shape) == pytest.approx(2 * 1000 * n_weights / 1e9)
    assert floor.linear(1, shape) == pytest.approx(4 * n_weights / 1e8)
    assert floor.linear(0, shape) == 0
