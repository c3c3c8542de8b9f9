"""Maps over pictures side by side: each in its own place, with its own colours, peak and outline."""

import numpy as np
import pytest

from tests.plotting.conftest import MARKUP_TOKEN
from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.picture_panels import Panel, picture_panels


def picture(*region: tuple[int, int]) -> PatchPicture:
    outlined = np.zeros((2, 3), bool)
    outlined[tuple(zip(*region, strict=True))] = bool(region)
    return PatchPicture(np.zeros((4, 6, 3), np.uint8), 2, 3, outlined if region else None)


def test_each_panel_has_its_picture_its_map_and_its_title() -> None:
    maps = np.arange(6.0).reshape(2, 3), np.full((2, 3), 0.5)
    rows = [[Panel(picture(), MARKUP_TOKEN), Panel(picture(), "cat", maps[0])], [Panel(picture(), "dog", maps[1])]]
    figure = picture_panels(rows)
    heats = [trace for trace in figure.data if trace.type == "heatmap"]
    assert [trace.xaxis for trace in heats] == ["x", "x2", "x3"] and len(figure.layout.images) == 3
    np.testing.assert_array_equal(heats[1].z, maps[0])
    assert [trace.zmax for trace in heats[1:]] == [5.0, 0.5]
    titles = [one.text for one in figure.layout.annotations]
    assert titles[1:] == ["cat", "dog"] and "<b onclick" not in titles[0]
    assert figure.layout.xaxis4.visible is False  # the second row ends early


def test_a_peak_is_marked_where_it_is_and_a_region_outlined() -> None:
    figure = picture_panels([[Panel(picture(), "whole"), Panel(picture((1, 2)), "cat", np.ones((2, 3)), (1, 2))]])
    marks = [trace for trace in figure.data if trace.type == "scatter"]
    assert {(mark.x[0], mark.y[0], mark.xaxis) for mark in marks} == {(2, 1, "x2")}
    assert {shape.xref for shape in figure.layout.shapes} == {"x2"}


@pytest.mark.parametrize("n_columns", [1, 7])
def test_panels_stay_within_the_width_of_a_page(n_columns: int) -> None:
    figure = picture_panels([[Panel(picture(), str(place)) for place in range(n_columns)]])
    assert figure.layout.width <= 760 and figure.layout.height <= 200
