"""Figures with intervals carry the values that they were given, leave gaps open, and escape names."""

import numpy as np

from tests.plotting.conftest import MARKUP_TOKEN
from vlm_lens.plotting import interval_bars, interval_lines

VALUES = np.array([[0.2, 0.1, 0.5], [np.nan] * 3, [0.9, 0.8, 1.0]])


def ends(value: np.ndarray, error: object) -> np.ndarray:
    """Lower and upper ends as they are drawn."""
    return np.stack([value - error.arrayminus, value + error.array])  # type: ignore[attr-defined]


def test_lines_reach_both_ends_of_their_intervals_and_leave_gaps_open() -> None:
    figure = interval_lines(["0", "1", "all"], {"a": {MARKUP_TOKEN: VALUES}}, x_title="layer", y_title="share")
    (line,) = figure.data
    np.testing.assert_allclose(line.y, VALUES[:, 0])
    np.testing.assert_allclose(ends(line.y, line.error_y), VALUES[:, 1:].T)
    assert not line.connectgaps
    assert "<b onclick" not in line.name


def test_no_line_leads_to_a_place_apart() -> None:
    values = np.array([[0.2, 0.1, 0.5], [0.3, 0.2, 0.6], [0.9, 0.8, 1.0]])
    figure = interval_lines(["0", "1", "all"], {"": {"a": values}}, x_title="", y_title="", apart=["all"])
    (line,) = figure.data
    np.testing.assert_allclose(line.y, [0.2, 0.3, np.nan, 0.9])
    np.testing.assert_allclose(line.x[[0, 1, 3]], [0, 1, 2])


def test_controls_are_grey_and_told_apart() -> None:
    panels = {"": dict.fromkeys(("a", "random", "even"), VALUES)}
    figure = interval_lines(["0", "1", "2"], panels, x_title="", y_title="", controls=["random", "even"])
    found, random, even = (line.line for line in figure.data)
    assert found.color != random.color == even.color and len({found.dash, random.dash, even.dash}) == 3


def test_a_line_has_one_colour_and_one_place_in_the_legend_in_all_panels() -> None:
    panels = {"a": {"x": VALUES, "y": VALUES}, "b": {"y": VALUES, "z": VALUES}}
    figure = interval_lines(["0", "1", "2"], panels, x_title="layer", y_title="share", ranges={"b": (0.0, 1.0)})
    colours = {name: {one.line.color for one in figure.data if one.name == name} for name in "xyz"}
    assert all(len(found) == 1 for found in colours.values()) and len(set.union(*colours.values())) == 3
    assert [one.name for one in figure.data if one.showlegend] == ["x", "y", "z"]
    assert figure.layout.yaxis2.range == (0, 1) and figure.layout.yaxis.range is None


def test_bars_stand_in_the_order_given_with_their_intervals() -> None:
    figure = interval_bars(["first", "second", MARKUP_TOKEN], {"a": VALUES, "b": VALUES[::-1]}, x_title="P(Yes)")
    assert figure.layout.yaxis.autorange == "reversed" and [bar.y[0] for bar in figure.data] == ["first"] * 2
    for bar, values in zip(figure.data, (VALUES, VALUES[::-1]), strict=True):
        np.testing.assert_allclose(bar.x, values[:, 0])
        np.testing.assert_allclose(ends(bar.x, bar.error_x), values[:, 1:].T)
        assert "<b onclick" not in bar.y[2]
