"""Figures 1, 4 and 8 of constructed attention: pooled by hand, presets, the paper's claims."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.experiments.described_scenes import SHORT, context_of
from vlm_lens.errors import InputError
from vlm_lens.experiments.attention_shares import AttentionShares
from vlm_lens.experiments.attention_shares.reading import BOS, GENERATED, IMAGE, TEXT, TEXT_BUT_BOS
from vlm_lens.experiments.attention_shares.summary import pooled

N_LAYERS = 8  # a tenth of InternVL2's: first 0, middle 2 and 3
LIKE_PAPER = (0.6, 0.1, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1)


def rows(image: tuple[float, ...] = LIKE_PAPER, spread: float = 0.5, n: int = 6) -> dict[str, pd.DataFrame]:
    """Pictures whose image share is given by layer; a tenth goes to generated tokens, half of the rest to bos."""
    shares, tails, histogram, descriptions = [], [], [], []
    for number in range(n):
        example = {"example": str(number)}
        descriptions.append({**example, "text": "A cat.", "n_tokens": 10, "is_cut": number == 0})
        for layer, share in enumerate(image):
            text = 0.9 - share
            groups = {IMAGE: share, GENERATED: 0.1, TEXT: text, BOS: text / 2, TEXT_BUT_BOS: text / 2, "role": text / 2}
            shares += [
                {**example, "layer": layer, "group": group, "mean": mean, "square": mean**2, "n_queries": 10}
                for group, mean in groups.items()
            ]
            top = spread if layer not in (2, 3) else spread / 2
            tails.append({**example, "layer": layer, "top_share": top, "n_top": 5, "n_image": 100})
            histogram.append({**example, "layer": layer, "bin": 40 + layer, "count": 100})
    histogram.append({"example": "0", "layer": 0, "bin": -1, "count": 3})
    frames = {"shares": shares, "tails": tails, "histogram": histogram, "descriptions": descriptions}
    return {name: pd.DataFrame(found) for name, found in frames.items()}


def summed(*given: Any, preset: str = "default") -> Any:
    return AttentionShares().summarised(rows(*given), AttentionShares.Options.preset(preset), {"n_layers": N_LAYERS})


def test_tokens_are_pooled_over_pictures_and_the_band_is_their_deviation() -> None:
    """Two pictures: shares 0.2, 0.4 of two tokens, and 0.6 of one."""
    given = pd.DataFrame(
        [
            {"example": "a", "layer": 0, "group": IMAGE, "mean": 0.3, "square": (0.04 + 0.16) / 2, "n_queries": 2},
            {"example": "b", "layer": 0, "group": IMAGE, "mean": 0.6, "square": 0.36, "n_queries": 1},
        ]
    )
    (row,) = pooled(given).to_dict("records")
    assert row["value"] == pytest.approx(0.4) and row["std"] == pytest.approx(np.std([0.2, 0.4, 0.6]))
    assert (row["n"], row["n_queries"]) == (2, 3) and 0.3 <= row["low"] <= row["high"] <= 0.6


def test_the_layout_has_a_row_a_layer_and_the_papers_three_groups_first() -> None:
    layout = summed().tables["shares"].layout
    assert list(layout.index) == list(range(N_LAYERS)) and list(layout.columns[:3]) == [IMAGE, TEXT, GENERATED]
    assert layout.loc[0, IMAGE] == "0.60 [0.60, 0.60]" and layout.loc[0, BOS] == "0.15 [0.15, 0.15]"


def test_the_presets_part_at_begin_of_sequence_and_agree_on_image_and_generated_tokens() -> None:
    lines = {}
    for preset in ("default", "paper"):
        figure = summed(preset=preset).figures["shares"]()
        lines[preset] = {one.name: one.y[0] for one in figure.data if one.mode == "lines+markers"}
    assert lines["paper"] == pytest.approx({IMAGE: 0.6, TEXT: 0.3, GENERATED: 0.1})
    assert lines["default"] == pytest.approx({IMAGE: 0.6, TEXT_BUT_BOS: 0.15, BOS: 0.15, GENERATED: 0.1})


def test_what_the_paper_found_agrees_with_the_paper() -> None:
    assert [one.agrees for one in summed().findings] == [True] * 5


@pytest.mark.parametrize(
    ("given", "disagrees"),
    [
        (((0.6, 0.5, 0.55, 0.55, 0.5, 0.5, 0.5, 0.5),), {0}),  # text gets less than 60%
        (((0.1, 0.1, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1),), {1}),  # the first layer looks no more at the picture
        (((0.6, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1),), {2}),  # no rise in the middle
        ((LIKE_PAPER, 0.08), {3}),  # the top 5% get 0.08, hardly more than 0.05
    ],
)
def test_what_the_paper_did_not_find_does_not_agree(given: Any, disagrees: set[int]) -> None:
    agrees = [one.agrees for one in summed(*given).findings]
    assert {number for number, one in enumerate(agrees) if not one} == disagrees


def test_the_histogram_begins_and_ends_where_weights_are() -> None:
    figure = summed().figures["histogram"]()
    (heat,) = figure.data
    assert heat.z.shape == (N_LAYERS, N_LAYERS)  # bins 40 to 47 by layers
    assert [int(np.nansum(column)) for column in np.array(heat.z, float).T] == [1] * N_LAYERS
    notes = " ".join(summed().notes)
    assert "3 weights are exactly 0" in notes and "1 of 6 descriptions were cut" in notes


def test_maps_stand_in_a_row_for_each_picture_with_the_picture_first() -> None:
    experiment = AttentionShares()
    context = context_of(experiment, 2, max_new_tokens=SHORT, n_maps=2)
    found = {name: pd.DataFrame(list(one)) for name, one in experiment.rows(context, context.data).items()}
    summary = experiment.summarised(found, context.options, experiment.facts(context))
    figure = summary.figures["maps"]()
    titles = [one.text for one in figure.layout.annotations]
    assert titles == [
        *[context.data[0].id, *[f"layer {layer}" for layer in range(6)]],
        *[context.data[1].id, *[f"layer {layer}" for layer in range(6)]],
    ]
    assert len(figure.layout.images) == len(figure.data) == 14


def test_no_picture_and_a_histogram_of_nothing_known_are_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        AttentionShares().summarised({}, AttentionShares.Options(), {"n_layers": 8})
    with pytest.raises(InputError, match="'means' or 'queries'"):
        context_of(AttentionShares(), 1, histogram_of="heads")
