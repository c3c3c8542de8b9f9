"""A sweep's figures use the colours between what was found, and leave the clean run white."""

from typing import Any

import numpy as np
import pytest

from vlm_lens.plotting.sweep_figures import LESS, MORE, WHITE, sweep_heatmap, sweep_lines


def heatmap(values: list[list[float]], clean: float) -> Any:
    rows, columns = ([str(n) for n in range(size)] for size in np.shape(values))
    return sweep_heatmap(np.array(values), rows, columns, row_axis="a", column_axis="b", clean=clean).data[0]


@pytest.mark.parametrize(
    ("clean", "span", "colours"),
    [
        (0.0, (0.0, 4.0), [WHITE, MORE]),
        (5.0, (1.0, 5.0), [LESS, WHITE]),
        (2.0, (0.0, 4.0), [LESS, WHITE, MORE]),
        (3.0, (1.0, 5.0), [LESS, WHITE, MORE]),
    ],
)
def test_white_is_the_clean_run_and_colours_are_as_strong_as_the_distance(
    clean: float, span: tuple[float, float], colours: list[str]
) -> None:
    drawn = heatmap([[1.0, 2.0], [np.nan, 4.0]], clean)
    assert (drawn.zmin, drawn.zmax) == span and [colour for _, colour in drawn.colorscale] == colours
    assert f"clean {clean:.3g}" in drawn.colorbar.ticktext
    assert set(drawn.colorbar.tickvals) == {min(1.0, clean), clean, max(4.0, clean)}


@pytest.mark.parametrize("values", [[[2.0, 2.0]], [[np.nan, np.nan]]])
def test_where_nothing_changed_all_is_white(values: list[list[float]]) -> None:
    drawn = heatmap(values, 2.0)
    assert drawn.zmin == 2.0 < drawn.zmax and drawn.colorscale[0][1] == WHITE


def test_numbers_are_written_where_there_is_room() -> None:
    assert heatmap([[0.0] * 6] * 6, 1.0).texttemplate is not None
    assert heatmap([[0.0] * 13], 1.0).texttemplate is None and heatmap([[0.0] * 6] * 32, 1.0).texttemplate is None


def test_conditions_without_an_order_are_points() -> None:
    values, labels = {"p": np.array([0.1, 0.2])}, ["<i>", "b"]
    line, points = (sweep_lines(values, labels, clean=0.5, is_ordered=is_ordered) for is_ordered in (True, False))
    assert line.data[0].mode == "lines+markers" and points.data[0].mode == "markers"
    assert list(points.layout.xaxis.ticktext) == ["&lt;i&gt;", "b"] and points.layout.shapes[0].y0 == 0.5


def test_of_many_labels_some_are_written() -> None:
    figure = sweep_lines({"p": np.zeros(200)}, [str(n) for n in range(200)], axis="start")
    assert len(figure.layout.xaxis.ticktext) == 40 and len(figure.data[0].y) == 200


def test_what_rounding_changes_is_nearly_white() -> None:
    drawn = heatmap([[0.9999, 0.99992], [0.9999, 0.99988]], 0.9999)
    assert drawn.zmax - 0.9999 == pytest.approx(1e-3, rel=1e-2) == 0.9999 - drawn.zmin
    assert drawn.colorbar.ticktext == ("clean 1",)  # others would be written over it


def test_long_names_are_shortened_and_leave_the_points_their_room() -> None:
    names = [f"everything that stands to the left of the object, draw {n}" for n in range(30)]
    figure = sweep_lines({"p": np.zeros(30)}, names, is_ordered=False)
    shown = figure.layout.xaxis.ticktext
    assert max(map(len, shown)) <= 28 and shown[3].endswith("draw 3") and len(set(shown)) == 30
    assert figure.data[0].customdata[3] == names[3] and figure.layout.height > 500
    assert sweep_lines({"p": np.zeros(3)}, ["a", "b", "c"]).layout.height == 360
