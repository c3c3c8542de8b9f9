"""One row of a batch's result is what that row alone gives, in every result that has rows."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from vlm_lens import (
    ActivationPatching,
    AttentionFlow,
    AttentionRelevance,
    DirectLogitAttribution,
    GradientTimesInput,
    HookedVLM,
    IntegratedGradients,
    LensReading,
    LogitDifference,
    LogitLens,
    RegisterTokens,
)
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import InputError, PositionError
from vlm_lens.inputs import Inputs

CLOSE = dict(rtol=1e-4, atol=1e-5)  # the same sums in another order, in fp32


@cache
def both() -> tuple[HookedVLM, Inputs]:
    vlm = tiny_vlm()
    return vlm, tiny_inputs(vlm)


def found(probe: Any, inputs: Inputs | None = None) -> Any:
    vlm, whole = both()
    return vlm.run(whole if inputs is None else inputs, probe)[probe]


def alone() -> Inputs:
    return both()[1].row(1)  # without its padding


def test_attention_of_a_row() -> None:
    for flow in (AttentionFlow("image", keeps="heads"), AttentionFlow("patches", tower="vision")):
        reading, single = found(flow).row(1), found(flow, alone())
        assert set(reading.rows.tolist()) == {1}
        np.testing.assert_allclose(reading.shares, single.shares, **CLOSE)
        # Without a row, a map is that of the first row that was read.
        np.testing.assert_allclose(reading.map().values, single.map().values, **CLOSE)
        assert (reading.map().row, reading.plot_map().frames[0].data[0].z.shape) == (1, reading.map().values[0].shape)
        assert torch.equal(reading.map().values, found(flow).map(row=1).values)
    with pytest.raises(PositionError, match="Row was not read: expected one of 0, 1, got row=2"):
        found(flow).row(2)


def test_words_of_a_row() -> None:
    lens = LogitLens(targets=[7])
    reading, single = found(lens).row(1), found(lens, alone())
    assert isinstance(reading, LensReading)
    np.testing.assert_allclose(reading.target_probabilities, single.target_probabilities, **CLOSE)
    np.testing.assert_array_equal(reading.patches("rank"), single.patches("rank"))
    assert reading.top_patches().tokens.tolist() == single.top_patches().tokens.tolist()


def test_registers_of_a_row() -> None:
    registers = RegisterTokens(1.0)
    reading, single = found(registers).row(1), found(registers, alone())
    np.testing.assert_allclose(reading.norms, single.norms, **CLOSE)
    assert reading.region().row == 1 and set(reading.region()) == set(single.region())
    assert reading.to_dataframe().row.unique().tolist() == [1]
    assert reading.plot().data[0].z.shape == reading.norms[0].shape
    with pytest.raises(PositionError, match="Row has no pictures: expected one of 1, got row=0"):
        reading.row(0)


@pytest.mark.parametrize("by", ["component", "head", "position"])
def test_what_adds_to_a_logit_of_a_row(by: str) -> None:
    probe = DirectLogitAttribution(40, 77, by=by)
    reading, single = found(probe).row(1), found(probe, alone())
    assert [query.row for query in reading.queries] == [1]
    np.testing.assert_allclose(reading.values, single.values, **CLOSE)
    assert reading.to_dataframe().row.unique().tolist() == [1]
    if by == "position":
        np.testing.assert_allclose(reading.maps(), single.maps(), **CLOSE)
    with pytest.raises(PositionError, match="Row was not read: expected one of 0, 1, got row=5"):
        found(probe).row(5)


@pytest.mark.parametrize(
    "probe",
    [
        GradientTimesInput({0: 40, 1: 41}),
        IntegratedGradients({0: 40, 1: 41}, n_steps=3),
        IntegratedGradients({0: 40, 1: 41}, n_steps=3, hook="hook_embed", positions="text"),
        AttentionRelevance({0: 40, 1: 41}),
    ],
    ids=lambda probe: f"{type(probe).__name__} at {getattr(probe, 'hook', 'all layers')}",
)
def test_what_counts_for_the_answer_of_a_row(probe: Any) -> None:
    whole, single = found(probe), found(replace(probe, target=41), alone())
    reading = whole.row(1)
    assert reading.explains == single.explains and reading.row_of == (1,)
    np.testing.assert_allclose(reading.answer, single.answer, **CLOSE)
    for kind in ("signed", "absolute"):
        np.testing.assert_allclose(reading.map(kind), single.map(kind), **CLOSE)
        np.testing.assert_array_equal(reading.map(kind), whole.map(kind, row=1))
    assert reading.top(2) == whole.top(2, row=1)
    if whole.error is not None:
        np.testing.assert_array_equal(reading.error, whole.error[1:])
    frame = whole.to_dataframe()
    assert reading.to_dataframe().equals(frame[frame.row == 1].reset_index(drop=True))
    assert reading.plot().data and reading.row(1).explains == reading.explains
    with pytest.raises(PositionError, match="Row was not read: expected one of 1, got row=0"):
        reading.row(0)


def test_patches_of_a_row() -> None:
    vlm, inputs = both()
    source = vlm.run(tiny_inputs(vlm, seed=1), names_filter="blocks.0.hook_resid_pre")
    patching = ActivationPatching(source, LogitDifference(40, 77), ["image", "last"], layers=0, shows_progress=False)
    grid = found(patching)
    reading = grid.row(1)
    assert (grid.axes, reading.axes) == (("layer", "position", "row"), ("layer", "position"))
    np.testing.assert_array_equal(reading.values, grid.values[..., 1])
    np.testing.assert_array_equal(reading.recovered, grid.recovered[..., 1])
    frame = grid.to_dataframe()
    of_row = frame[frame.row == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(reading.to_dataframe(), of_row)
    assert reading.plot().data
    with pytest.raises(PositionError, match="Row was not read"):
        reading.row(0)
    of_all = ActivationPatching(source, lambda logits: logits.mean(), ["image"], layers=0, shows_progress=False)
    with pytest.raises(InputError, match="a metric of one number a row"):
        found(of_all).row(1)


def test_a_result_of_several_rows_says_whose_figure_it_shows() -> None:
    for probe in (DirectLogitAttribution(40), GradientTimesInput(40), IntegratedGradients(40, n_steps=2)):
        whole = found(probe)
        assert "row 0" in repr(whole) and "row" not in repr(found(probe, alone()))
        assert "row 0" in whole.plot().layout.title.text and "row" not in whole.row(1).plot().layout.title.text
    assert "2 rows, 2 pictures" in repr(whole) and "1 picture;" in repr(whole.row(1))


def test_a_region_of_another_picture_is_drawn_over_none() -> None:
    vlm, scenes = HookedVLM.demo(), example_scenes()
    given = [vlm.prepare(scenes[number].scene.image, scenes[0].turn.question) for number in (0, 2)]
    mine, other = (one.layout.region(scenes[number].subject.mask) for one, number in zip(given, (0, 2), strict=True))
    by_position = DirectLogitAttribution(" Yes", by="position", layers=[5])
    lens, registers, gradient = LogitLens(layers=-1), RegisterTokens(1.0), GradientTimesInput(" Yes")
    flow = AttentionFlow("last", layers=-1)
    run = vlm.run(given[0], by_position, lens, registers, gradient, flow)
    for plot in (*(run[one].plot for one in (by_position, lens, registers, gradient)), run[flow].plot_map):
        n_shapes = len(plot().layout.shapes)
        assert len(plot(region=mine).layout.shapes) == n_shapes + 2
        with pytest.raises(PositionError, match="Region belongs to another picture"):
            plot(region=other)
