"""Figures of attention and norms carry the values that they were given, and escape names."""

from dataclasses import replace

import numpy as np
import pytest

from tests.plotting.conftest import MARKUP_TOKEN
from vlm_lens.plotting import PatchPicture
from vlm_lens.plotting.histogram_by_layer import histogram_by_layer
from vlm_lens.plotting.norm_map import norm_map
from vlm_lens.plotting.patch_picture import region_outline
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


def test_a_norm_map_outlines_what_stands_out_and_a_region_besides(picture: PatchPicture) -> None:
    norms = np.random.default_rng(0).random((4, 6))
    assert picture.region is not None
    figure = norm_map(picture, norms, 0.5)
    np.testing.assert_allclose(figure.data[0].z, norms, rtol=1e-6)
    assert figure.layout.annotations[0].text == "14 of 24 patches above 0.5"
    paths = [shape.path for shape in figure.layout.shapes]
    assert paths == [region_outline(norms > 0.5)] * 2 + [region_outline(picture.region)] * 2
    assert len({shape.line.color for shape in figure.layout.shapes}) == 4 and len(figure.layout.images) == 1
    alone = norm_map(replace(picture, region=None), norms, 1.0)
    assert alone.layout.annotations[0].text.startswith("0 of 24") and not alone.layout.shapes


@pytest.mark.parametrize(
    "groups", [["mine", "question", "image"], ["a", "b", "c", "generated"], [f"g{i}" for i in range(20)]]
)
def test_groups_without_a_colour_of_their_own_take_none_that_is_in_use(groups: list[str]) -> None:
    colours = group_colours(groups)
    assert len(colours) == len(groups)
    assert len(set(colours)) == min(len(groups), 8 if groups[0] == "g0" else 99)
