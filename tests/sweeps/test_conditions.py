"""Conditions have names that differ; grids have axes with labels."""

import doctest
from typing import Any

import numpy as np
import pytest

from tests.recompute.held_to_runs import assert_near
from tests.sweeps.scene import bundled, cat, question
from vlm_lens import AttentionKnockout, Grid, LogitLens, ZeroAblation
from vlm_lens.errors import EmptySelectionError, HookError, InputError
from vlm_lens.sweeps import Sweep, conditions, readings, sweep
from vlm_lens.sweeps.conditions import conditions_of

EARLY = AttentionKnockout("last", "image", layers=[0], name="early")
LENS = LogitLens()


def knockout(start: Any, source: Any) -> AttentionKnockout:
    return AttentionKnockout("last", source, layers=[start])


@pytest.mark.parametrize("module", [conditions, readings, sweep])
def test_examples_in_docstrings_run(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0


def test_members_of_a_list_go_by_number_or_by_the_names_of_their_objects() -> None:
    late = AttentionKnockout("last", "image", layers=[5], name="late")
    found = conditions_of([[], EARLY, [EARLY, late], [EARLY, LENS]])
    assert [one.name for one in found] == ["0", "early", "early + late", "3"]
    assert [len(one.objects) for one in found] == [0, 1, 2, 2]


def test_a_mapping_gives_the_names() -> None:
    assert [one.name for one in conditions_of({"a": EARLY, 2: [], "c": (EARLY, LENS)})] == ["a", "2", "c"]


def test_a_grid_has_every_combination_with_the_last_axis_fastest() -> None:
    grid = Grid({"start": range(2), "source": {"cat": cat(), "words": "question"}}, knockout)
    assert grid.shape == (2, 2) and repr(grid) == "Grid(start: 0, 1; source: cat, words; 4 conditions)"
    found = grid.conditions()
    assert [one.name for one in found] == [
        "start 0, source cat",
        "start 0, source words",
        "start 1, source cat",
        "start 1, source words",
    ]
    assert found[2].axes == {"start": "1", "source": "cat"}
    (made,) = found[2].objects
    assert isinstance(made, AttentionKnockout) and made.layers == [1] and made.keys is cat()


def test_numbers_of_numpy_are_labelled_as_numbers() -> None:
    assert Grid({"start": np.arange(2), "source": ["image"]}, knockout).axes["start"] == {"0": 0, "1": 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "at least one, got none"),
        ({}, "at least one, got none"),
        (EARLY, r"a list, a mapping by name, or a Grid, got AttentionKnockout.* is a list of one: \[knockout\]"),
        ("early", "a list, a mapping by name, or a Grid"),
        (None, "a list, a mapping by name, or a Grid"),
        ([EARLY, "late"], "Condition number 1: expected interventions and probes"),
        ([EARLY, None], "Condition number 1: expected interventions and probes"),
        ({"a": [[EARLY]]}, "Condition a: expected interventions and probes"),
        ([EARLY, EARLY], "each once, got 'early' twice. Name them"),
        ({1: EARLY, "1": EARLY}, "each once, got '1' twice"),
        ({"clean": EARLY}, "another name than that of the run which nothing is done to, got 'clean'"),
    ],
)
def test_what_is_no_list_of_conditions_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sweep(bundled(), question(), given)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({}, "at least one axis"),
        ({"start": [], "source": ["image"]}, "Axis 'start' of a grid: expected values with a label each, got none"),
        ({"start": [1, 1], "source": ["image"]}, "got 2 values with 1 labels. Give them labels"),
        ({"start": [1], "source": "image"}, "Axis 'source' of a grid: expected several values, got 'image'"),
        ({"start": 3, "source": ["image"]}, "expected several values, got 3"),
        ({"first": [1], "source": ["image"]}, "expected a function of its axes: lambda first, source: ..."),
    ],
)
def test_axes_that_make_no_grid_are_refused(axes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Grid(axes, knockout)


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (ZeroAblation([]), EmptySelectionError),
        (AttentionKnockout("last", "image", layers=[99]), EmptySelectionError),
        (ZeroAblation("image", "blocks.0.hook_nothing"), HookError),
        ([LENS, LENS], HookError),
    ],
)
def test_a_condition_that_names_nothing_is_refused_before_anything_runs_and_named(wrong: Any, kind: Any) -> None:
    with pytest.raises(kind) as raised:
        Sweep(bundled(), question(), {"fine": EARLY, "wrong": wrong})
    assert "In condition 'wrong' of the sweep." in raised.value.__notes__


def test_a_probe_is_given_once() -> None:
    with pytest.raises(InputError, match="Condition 'b': expected each probe once, got LogitLens.*, also in read"):
        Sweep(bundled(), question(), {"a": EARLY, "b": [EARLY, LENS]}, LENS)


def test_nobody_may_come_to_stand_at_the_model_after_it_was_planned() -> None:
    planned = Sweep(bundled(), question(), [EARLY], shows_progress=False)
    with bundled().attach(LENS), pytest.raises(HookError, match="expected nothing else, got LogitLens"):
        planned.run()
    hook = ("blocks.1.hook_resid_pre", lambda activation, hook: None)
    with bundled().hooks(fwd_hooks=[hook]), pytest.raises(HookError, match="got hooks at blocks.1.hook_resid_pre"):
        planned.run()
    assert len(planned.run()) == 1


def test_under_what_stood_before_each_condition_is_run_by_itself() -> None:
    with bundled().attach(ZeroAblation(cat())):
        results = bundled().sweep(question(), [EARLY, []], shows_progress=False)
        loop = [bundled().run(question(), *cell.condition.objects).logits[:, -1] for cell in results]
    assert [line.way for line in results.plan.lines] == ["by itself"] * 2
    for cell, alone in zip(results, loop, strict=True):
        assert_near(cell.logits, alone, cell.name)
