"""Figures of attention and norms carry the values that they were given, and escape names."""

import numpy as np
import pytest

from tests.plotting.conftest import MARKUP_TOKEN
from vlm_lens.plotting import PatchPicture
from vlm_lens.plotting.histogram_by_layer import histogram_by_layer
from vlm_lens.plotting.norm_map import norm_map
from vlm_lens.plotting.share_bands import share_bands
from vlm_lens.plotting.theme import group_colours


def test_bands_reach_one_deviation_from_the_mean_and_stay_within_shares() -> None:
    mean = np.array([[0.1, 0.9], [0.4, 0.6]])
    deviation = np.array([[0.2, 0.05], [0.1, 0.1]])
    figure = share_bands(mean, deviation, [MARKUP_TOKEN, "image"], ["0", "1"], n=7)
    bands, lines = figure.data[::2], figure.data[1::2]
    np.testing.assert_allclose(bands[0].y, [0.3, 0.5, 0.3, 0.0])
    np.testing.assert_allclose(bands[1].y, [0.95, 0.7, 0.5, 0.85])
    np.testing.assert_allclose([line.y for line in lines], mean.T)
    assert "<b onclick" not in lines[0].name
    assert "7 queries" in figure.layout.yaxis.title.text


def test_a_histograms_columns_are_shares_of_their_layers() -> None:
    counts = np.array([[1, 3, 0], [0, 0, 0]])
    figure = histogram_by_layer(counts, np.array([1e-3, 1e-2, 1e-1, 1.0]), ["0", "1"])
    z = figure.data[0].z
    np.testing.assert_array_equal(z[:, 0], [0.25, 0.75, np.nan])
    assert np.isnan(z[:, 1]).all()
    np.testing.assert_allclose(figure.data[0].y, [-2.5, -1.5, -0.5])


def test_a_norm_map_lies_over_the_picture_and_counts_its_region(picture: PatchPicture) -> None:
    norms = np.random.default_rng(0).random((4, 6))
    figure = norm_map(picture, norms, 0.5)
    np.testing.assert_allclose(figure.data[0].z, norms, rtol=1e-6)
    assert figure.layout.annotations[0].text == "6 of 24 patches above 0.5"
    assert len(figure.layout.shapes) == 2 and len(figure.layout.images) == 1


@pytest.mark.parametrize(
    "groups", [["mine", "question", "image"], ["a", "b", "c", "generated"], [f"g{i}" for i in range(20)]]
)
def test_groups_without_a_colour_of_their_own_take_none_that_is_in_use(groups: list[str]) -> None:
    colours = group_colours(groups)
    assert len(colours) == len(groups)
    assert len(set(colours)) == min(len(groups), 8 if groups[0] == "g0" else 99)
