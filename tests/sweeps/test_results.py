"""Cells are found by name, number and place; tables and figures carry their numbers."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.sweeps.scene import bundled, cat, conditions, question
from vlm_lens import AttentionKnockout, Generated, Grid, LogitLens, Logits, Probability, SweepResult, ZeroAblation
from vlm_lens.errors import HookError, InputError
from vlm_lens.sweeps.results import ANSWER, DIVERGENCE

SOURCES = {"cat": cat(), "words": "question"}
YES = repr(Probability(" Yes"))


def swept(given: Any, read: Any = "logits") -> SweepResult:
    return bundled().sweep(question(), given, read, shows_progress=False)


def grid(**axes: Any) -> Grid:
    def condition(source: Any = "image", **rest: int) -> AttentionKnockout:
        return AttentionKnockout("last", source, layers=sorted({rest.get("start", 0), rest.get("end", 1)}))

    return Grid(axes, condition)


def test_a_cell_is_found_by_name_number_and_condition() -> None:
    results = swept(conditions())
    for number, name in enumerate(conditions()):
        found = results[number]
        assert found is results[name] is results[number - len(results)] is results[np.int64(number)]
        assert results[found.condition] is found and found.name == name
    assert [cell.name for cell in results] == list(results.names)


@pytest.mark.parametrize("name", [8, -9, "none", None, True, 2.5, ("a",)])
def test_a_cell_that_does_not_exist_is_refused_with_those_that_do(name: Any) -> None:
    with pytest.raises(InputError, match="expected a number below 8, or one of 'as it is', 'rows', .*, got"):
        swept(conditions())[name]


def test_the_clean_run_is_said_to_be_elsewhere() -> None:
    with pytest.raises(InputError, match="got 'clean'. The run that nothing is done to is results.clean"):
        swept(conditions())["clean"]


def test_a_cell_is_found_by_its_place_in_a_grid() -> None:
    results = swept(grid(start=range(3), source=SOURCES))
    assert results.at(start=1, source="words") is results[3] is results["start 1, source words"]
    assert results.at(start="1", source="words") is results[3]
    for wrong in ({"start": 1}, {"start": 7, "source": "cat"}, {"start": 1, "sauce": "cat"}, {}):
        with pytest.raises(InputError, match=r"expected start: 0, 1, 2; source: cat, words, got at\("):
            results.at(**wrong)
    with pytest.raises(InputError, match=r"expected a sweep over a Grid, got at.* go by their name or number"):
        swept(conditions()).at()


def test_a_table_has_a_line_for_each_condition_with_the_clean_number_beside() -> None:
    results = swept(grid(start=range(3), source=SOURCES), ["logits", Probability(" Yes")])
    frame = results.to_dataframe()
    assert list(frame["start"]) == [0, 0, 1, 1, 2, 2] and list(frame["source"]) == ["cat", "words"] * 3
    assert list(frame) == [
        "condition", "start", "source", "row", YES, f"clean {YES}", ANSWER, f"clean {ANSWER}", DIVERGENCE, "answer",
    ]  # fmt: skip
    np.testing.assert_allclose(frame[YES], frame[ANSWER], rtol=1e-5)  # the clean answer is " Yes"
    assert frame[f"clean {YES}"].nunique() == 1
    np.testing.assert_allclose(results.values(YES).reshape(-1), frame[YES])
    assert results.values(YES).shape == (3, 2, 1)


def test_the_divergence_is_that_of_the_next_tokens_distribution_in_nats() -> None:
    results = swept(conditions())
    assert results.clean.logits is not None
    for cell, number in zip(results, results.values(DIVERGENCE)[:, 0], strict=True):
        assert cell.logits is not None
        expected = torch.nn.functional.kl_div(
            cell.logits.log_softmax(-1).double(), results.clean.logits.log_softmax(-1).double(),
            reduction="sum", log_target=True,
        )  # fmt: skip
        assert number == pytest.approx(float(expected), rel=1e-4, abs=1e-6)
    assert results.values(DIVERGENCE)[0, 0] == 0 and results.values(DIVERGENCE).min() >= 0


def test_logits_at_positions_have_a_line_for_each_position() -> None:
    results = swept({"ablated": ZeroAblation(cat()), "nothing": []}, [Logits("question"), Probability(" Yes")])
    rows = question().layout.positions("question")
    frame = results.to_dataframe()
    assert list(frame["position"]) == [*rows, *rows] and results.positions == rows
    assert results.values(DIVERGENCE).shape == (2, 1, len(rows)) and results.values(YES).shape == (2, 1)
    ablated = frame[frame["condition"] == "ablated"]
    np.testing.assert_allclose(ablated[DIVERGENCE], results.values(DIVERGENCE)[0, 0])
    figure = results.plot(DIVERGENCE, position=rows[0])
    np.testing.assert_allclose(figure.data[0].y, results.values(DIVERGENCE)[:, 0, 0])
    assert results.plot(YES).data[0].y.shape == (2,)
    with pytest.raises(InputError, match="Position of a sweep: expected one of"):
        results.plot(DIVERGENCE, position=0)


def test_a_metric_is_found_by_itself() -> None:
    metric = Probability(" Yes")
    results = swept(grid(start=range(3), source=SOURCES), [metric, "logits"])
    np.testing.assert_array_equal(results.values(Probability(" Yes")), results.values(YES))
    assert results[2][metric] is results[2].values[YES]
    assert list(results.plot(metric).data[0].z.reshape(-1)) == list(results.values(YES).reshape(-1))
    with pytest.raises(InputError, match="Metric of a sweep: expected one of"):
        results.values(Probability(" No"))
    with pytest.raises(InputError, match=r"Metric of a cell: expected one of Probability\(' Yes'\), got"):
        results[2][Probability(" No")]


def test_a_probes_tables_stand_below_each_other_with_the_condition_in_front() -> None:
    lens = LogitLens(targets=[" cat"], positions="last")
    results = swept(grid(layer=range(2), source=SOURCES), lens)
    frame = results.to_dataframe(lens, of="targets")
    assert list(frame)[:4] == ["condition", "layer of the grid", "source", "row"]  # the lens has a column "layer"
    for cell, (name, found) in zip(results, frame.groupby("condition", sort=False), strict=True):
        alone = cell[lens].to_dataframe("targets")
        assert name == cell.name and list(found["layer of the grid"].unique()) == [int(cell.condition.axes["layer"])]
        assert found[list(alone)].reset_index(drop=True).equals(alone)


def test_probes_of_some_conditions_have_tables_of_these() -> None:
    lens, other = LogitLens(positions="last"), LogitLens(positions="last")
    results = swept({"a": [ZeroAblation(cat()), lens], "b": [], "c": [lens]})
    assert list(results.to_dataframe(lens)["condition"].unique()) == ["a", "c"]
    with pytest.raises(HookError, match="Table of a probe: expected one that was attached to a condition"):
        results.to_dataframe(other)


def test_no_axis_hides_a_column_of_the_table() -> None:
    axes: dict[str, Any] = {"row": [7, 8], "condition": ["image"]}
    results = swept(Grid(axes, lambda row, condition: AttentionKnockout("last", condition, layers=[row - 7])))
    frame = results.to_dataframe()
    assert list(frame["row"]) == [0, 0] and list(frame["row of the grid"]) == [7, 8]
    assert list(frame["condition"]) == list(results.names)
    assert list(frame["condition of the grid"]) == ["image", "image"]


def test_a_list_and_a_grid_of_one_axis_are_drawn_as_a_line() -> None:
    listed = swept(conditions()).plot()
    assert listed.data[0].type == "scatter" and list(listed.layout.xaxis.ticktext) == list(conditions())
    one = swept(grid(start=range(4), source=["image"]))
    figure = one.plot(DIVERGENCE)
    assert figure.data[0].type == "scatter" and figure.layout.xaxis.title.text == "start"
    np.testing.assert_allclose(figure.data[0].y, one.values(DIVERGENCE).reshape(-1))
    single = swept(grid(start=[1], source=["image"])).plot()
    assert list(single.layout.xaxis.ticktext) == ["start 1, source image"]


def test_grids_of_two_and_more_axes_are_drawn_as_a_heat_map() -> None:
    two = swept(grid(start=range(3), source=SOURCES))
    figure = two.plot(DIVERGENCE)
    assert figure.data[0].type == "heatmap" and list(figure.data[0].y) == ["0", "1", "2"]
    np.testing.assert_allclose(figure.data[0].z, two.values(DIVERGENCE)[..., 0])
    three = swept(grid(start=range(2), end=range(3, 5), source=SOURCES))
    figure = three.plot(DIVERGENCE)
    assert list(figure.data[0].y) == ["0 · 3", "0 · 4", "1 · 3", "1 · 4"]
    assert figure.layout.yaxis.title.text == "start · end" and figure.layout.xaxis.title.text == "source"
    np.testing.assert_allclose(figure.data[0].z, three.values(DIVERGENCE)[..., 0].reshape(4, 2))


def test_what_has_no_numbers_is_not_drawn() -> None:
    for read in (LogitLens(positions="last"), Generated(2)):
        results = swept({"nothing": []}, read)
        with pytest.raises(InputError, match="Numbers of a sweep: expected a sweep that reads them"):
            results.plot()
        with pytest.raises(InputError, match="Logits of a sweep: expected a sweep with read='logits'"):
            _ = results.logits
        assert len(results.to_dataframe()) == 1 and "Sweep" in results._repr_html_()


def test_another_metric_or_row_is_refused_with_those_that_there_are() -> None:
    results = swept({"nothing": []})
    for ask in (results.values, results.plot):
        with pytest.raises(InputError, match=f"one of '{ANSWER}', '{DIVERGENCE}', got 'change'"):
            ask("change")
    with pytest.raises(InputError, match="Row of a sweep: expected 0 to 0, got 1"):
        results.plot(row=1)


def test_everything_says_what_it_is() -> None:
    lens = LogitLens(positions="last")
    results = swept({"<b>": [], "hidden": AttentionKnockout("last", "image")}, ["logits", Probability(" Yes"), lens])
    assert repr(results).startswith("SweepResult(2 conditions in 0.")
    assert "&lt;b&gt;" in results._repr_html_()
    assert repr(results[0]) == f"Cell('<b>', {YES}=0.9999, logits [1, {bundled().cfg.d_vocab}])"
    assert "&lt;b&gt;" in str(results.plot().layout.xaxis.ticktext)
    text = swept({"nothing": []}, Generated(2))
    assert repr(text[0]) == "Cell('nothing', 'Yes')" and repr(text).endswith("; text)")
    assert repr(swept({"nothing": []}, lens)[0]) == "Cell('nothing', probes alone)"
    with pytest.raises(InputError, match="text of a cell: expected a sweep with read=Generated"):
        _ = results[0].text
    with pytest.raises(HookError, match="Result does not exist"):
        results[0][LogitLens()]
