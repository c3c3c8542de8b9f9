"""Peaks, distances and histograms, against values counted by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vlm_lens.errors import EmptySelectionError, HookError, InputError, PositionError
from vlm_lens.layout import ImageSpan, PatchGrid, Region
from vlm_lens.probes.attention.attention_histogram import AttentionHistogram
from vlm_lens.probes.attention.attention_map import AttentionMap

SPAN = ImageSpan(3, PatchGrid(4, 5, 2, 2), fingerprint="one")


def a_map() -> AttentionMap:
    """Peaks at (0, 0), (2, 3) and, twice as high as anywhere else, (3, 4)."""
    values = torch.full((3, 4, 5), 0.01)
    values[0, 0, 0] = values[1, 2, 3] = 0.2
    values[2, 3, 4] = 0.5
    return AttentionMap(values, ("4", "5", "9"), SPAN)


def region(*places: tuple[int, int]) -> Region:
    return Region(SPAN, 0, frozenset(row * 5 + col for row, col in places))


def test_the_peak_is_the_row_and_column_of_the_largest_patch() -> None:
    assert a_map().peaks.tolist() == [[0, 0], [2, 3], [3, 4]]


@pytest.mark.parametrize(
    "places, expected",
    [
        ([(0, 0)], [0, 3, 4]),
        ([(2, 2), (3, 3)], [2, 1, 1]),
        ([(row, col) for row in range(4) for col in range(5)], [0, 0, 0]),
        ([(1, 4), (3, 0)], [3, 1, 2]),
    ],
)
def test_the_distance_counts_steps_over_eight_neighbours(places: list[tuple[int, int]], expected: list[int]) -> None:
    wanted = region(*places)
    assert a_map().distance_to(wanted).tolist() == expected
    # A peak is within n steps of a region exactly if the region grown by n holds it.
    for n in range(5):
        grown = wanted.dilate(n).patches
        held = [bool(grown[row, col]) for row, col in a_map().peaks.tolist()]
        assert held == [distance <= n for distance in expected]


def test_layers_are_averaged_before_the_peak_is_taken() -> None:
    mean = a_map().averaged([4, 9])
    assert mean.peaks.tolist() == [[3, 4]] and mean.layers == ("mean of 4, 9",)
    torch.testing.assert_close(mean.values[0, 0, 0], torch.tensor(0.105))
    assert a_map().averaged().peaks.tolist() == [[3, 4]]
    with pytest.raises(HookError, match="some of 4, 5, 9, got 7"):
        a_map().averaged([7])


def test_regions_that_are_nowhere_or_elsewhere_are_refused() -> None:
    with pytest.raises(EmptySelectionError, match="a region with patches"):
        a_map().distance_to(region())
    other = region((0, 0)).on(ImageSpan(3, SPAN.grid, fingerprint="two"))
    with pytest.raises(PositionError, match="Region belongs to another picture"):
        a_map().distance_to(other)
    with pytest.raises(PositionError, match="another picture"):
        a_map().plot(other)
    with pytest.raises(PositionError, match=r"expected a Region, got str 'cat'. Make one: layout.region\(mask\)"):
        a_map().distance_to("cat")
    later = region((0, 0)).on(replace(SPAN, start=40))  # the same picture in another prompt
    assert a_map().distance_to(later).tolist() == [0, 3, 4]


def test_a_frame_and_a_figure_carry_every_patch() -> None:
    frame = a_map().to_dataframe()
    assert len(frame) == 3 * 4 * 5
    one = frame[(frame.layer == "5") & (frame.patch_row == 2) & (frame.patch_col == 3)]
    assert one.attention.tolist() == pytest.approx([0.2])
    figure = a_map().plot(region((0, 0)))
    assert figure.data[0].z.shape == (4, 5) and len(figure.frames) == 3
    assert "3, 4" in a_map()._repr_html_()


def test_the_histogram_counts_every_weight_once() -> None:
    values = torch.tensor([[1e-4, 1e-3, 1e-2, 0.0, math.nan], [1e-1, 1e-1, 5e-4, 2e-4, 1e-4]])
    histogram = AttentionHistogram.of(values, ("0", "1"), n_bins=3)
    np.testing.assert_allclose(histogram.edges, [1e-4, 1e-3, 1e-2, 1e-1], rtol=1e-5)
    assert histogram.zeros.tolist() == [1, 0]
    assert histogram.counts.sum(axis=1).tolist() == [3, 5]
    assert histogram.counts[1].tolist() == [3, 0, 2]
    assert len(histogram.to_dataframe()) == 6
    np.testing.assert_allclose(np.nansum(histogram.plot().data[0].z, axis=0), 1)


def test_a_histogram_of_nothing_is_refused() -> None:
    with pytest.raises(PositionError, match="image tokens with attention"):
        AttentionHistogram.of(torch.zeros(2, 0), ("0", "1"), 10)
    with pytest.raises(InputError, match="n_bins"):
        AttentionHistogram.of(torch.ones(1, 3), ("0",), 0)
    assert AttentionHistogram.of(torch.ones(1, 3), ("0",), 4).counts.sum() == 3
