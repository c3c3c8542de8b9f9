"""A part's attention, against the written-out attention of plain transformers, and its table and figure."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from tests.experiments.described_scenes import context_of, demo, plain_demo
from tests.interventions.plain_transformers import edges
from vlm_lens.errors import InputError
from vlm_lens.experiments import run_experiment
from vlm_lens.experiments.object_parts.knockouts import DECODER, ENCODER, NONE
from vlm_lens.experiments.part_attention import PartAttention
from vlm_lens.experiments.part_attention.experiment import ELSEWHERE, PART, TEXT, VISION

Row = dict[str, Any]
SETTINGS = [(VISION, NONE), (VISION, ENCODER), (TEXT, NONE), (TEXT, DECODER)]


@cache
def rows(preset: str = "default") -> dict[str, list[Row]]:
    context = context_of(PartAttention(), 4, preset, classes="boat", least_share=0.03, part="hull")
    return {name: list(found) for name, found in PartAttention().rows(context, context.data).items()}


@cache
def patterns(setting: str) -> tuple[dict[Any, torch.Tensor], list[int], int]:
    """What each layer attends to `[query_pos key_pos]`, mean over heads; the hull's patches; where patches begin."""
    context = context_of(PartAttention(), 4, classes="boat", least_share=0.03)
    example, plain = context.data[0], plain_demo()
    inputs = demo().prepare(example.image, "USER: <image>", template="literal")
    hull = inputs.layout.region(example.targets[0].parts["hull"])
    target, others, first = sorted(hull.patch_ids), sorted((~hull).patch_ids), inputs.layout.image_span().start
    blocked: set[Any] = set()
    if setting == ENCODER:
        own, rest = [one + 1 for one in target], [0, *(one + 1 for one in others)]
        blocked = edges("vision", range(6), range(4), 0, own, rest) | edges("vision", range(6), range(4), 0, rest, own)
    if setting == DECODER:
        blocked = edges("decoder", range(6), range(6), 0, [first + p for p in target], [first + p for p in others])
    with torch.no_grad():
        plain.logits(dict(inputs), blocked)
    return {key: one[0].mean(dim=0) for key, one in plain.patterns.items()}, target, first


@pytest.mark.parametrize(("tower", "setting"), SETTINGS)
def test_maps_and_shares_are_those_of_the_written_out_attention(tower: str, setting: str) -> None:
    found, target, first = patterns(setting)
    key, start = ("vision", 1) if tower == VISION else ("decoder", first)
    for layer in {row["layer"] for row in rows()["maps"] if row["tower"] == tower}:
        expected = found[key, layer][[start + one for one in target], start : start + 144].mean(dim=0)
        got = [one for one in rows()["maps"] if (one["tower"], one["setting"], one["layer"]) == (tower, setting, layer)]
        got = sorted(got, key=lambda one: (one["patch_row"], one["patch_col"]))
        np.testing.assert_allclose([one["attention"] for one in got], expected.numpy(), atol=1e-5)
        shares = {
            one["to"]: one["share"]
            for one in rows()["shares"]
            if (one["tower"], one["setting"], one["layer"]) == (tower, setting, layer)
        }
        assert shares[PART] == pytest.approx(float(expected[target].sum()), abs=1e-5)
        assert shares[ELSEWHERE] == pytest.approx(float(expected.sum() - expected[target].sum()), abs=1e-5)
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)


def test_the_knockout_leaves_exactly_nothing() -> None:
    cut = [row["share"] for row in rows()["shares"] if row["setting"] != NONE and row["to"] == ELSEWHERE]
    assert cut and all(share == 0 for share in cut)


def test_the_papers_preset_keeps_the_class_token_and_nothing_else() -> None:
    def share(preset: str, setting: str, to: str) -> float:
        found = rows(preset)["shares"]
        return sum(row["share"] for row in found if (row["setting"], row["to"]) == (setting, to))

    assert share("default", ENCODER, "class token") == 0 < share("paper", ENCODER, "class token")
    assert share("default", DECODER, PART) == share("paper", DECODER, PART)
    assert share("default", NONE, PART) == share("paper", NONE, PART)


def test_patches_have_the_pictures_colours() -> None:
    context = context_of(PartAttention(), 4, classes="boat", least_share=0.03)
    pixels = np.asarray(context.data[0].image, float)  # 192 x 192, patches of 16
    found = rows()["patches"]
    assert len(found) == 144
    row = next(one for one in found if (one["patch_row"], one["patch_col"]) == (3, 7))
    mean = pixels[48:64, 112:128].mean(axis=(0, 1))
    got = [int(row["colour"][start : start + 2], 16) for start in (1, 3, 5)]
    np.testing.assert_allclose(got, mean, atol=0.51)
    _, target, _ = patterns(NONE)
    assert [one["patch_row"] * 12 + one["patch_col"] for one in found if one["is_part"]] == target


def test_the_table_and_the_figure_show_both_towers_with_and_without() -> None:
    found = run_experiment(
        "part-attention", demo(), context_of(PartAttention(), 4, classes="boat", least_share=0.03).data,
        shows_progress=False, classes="boat", least_share=0.03,
    )  # fmt: skip
    assert [tuple(one) for one in found.summary().reset_index()[["tower", "setting"]].drop_duplicates().to_numpy()] == (
        SETTINGS
    )
    assert found.found.findings[0].agrees is True
    figure = found.plot()
    assert sum(trace.type == "heatmap" for trace in figure.data) == 4 * 3
    assert len(figure.data[0].z) == 12


def test_an_example_that_was_not_read_cannot_be_shown() -> None:
    data = context_of(PartAttention(), 4, classes="boat", least_share=0.03).data
    found = run_experiment(
        "part-attention", demo(), data, shows_progress=False, classes="boat", least_share=0.03, shown="7"
    )
    with pytest.raises(InputError, match="shown"):
        found.plot()


def test_without_a_part_nothing_is_summed_up() -> None:
    with pytest.raises(InputError, match="at least one"):
        PartAttention().summarised({}, PartAttention.Options(), {"layers": {}, "steps": []})
