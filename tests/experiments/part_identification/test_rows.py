"""The rows of a scene: the same as the written-out attention of plain transformers says, under every setting."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from tests.experiments.described_scenes import context_of, demo, plain_demo
from tests.interventions.plain_transformers import edges
from vlm_lens.experiments.object_parts.knockouts import DECODER, ENCODER, FULL, NONE
from vlm_lens.experiments.object_parts.labels import label_tokens
from vlm_lens.experiments.part_identification import PartIdentification

Row = dict[str, Any]
FIRST = 5
"""Words before the picture: BOS and "USER: ". """


def boat(preset: str = "default", **options: Any) -> Any:
    """A context over the first scene with a boat: hull, mast and sail."""
    return context_of(PartIdentification(), 6, preset, **{"classes": "boat", "least_share": 0.03, **options})


def rows_of(preset: str = "default", **options: Any) -> dict[str, list[Row]]:
    context = boat(preset, filters_captions=False, **options)
    return {name: list(found) for name, found in PartIdentification().rows(context, context.data[:1]).items()}


@cache
def default_rows() -> dict[str, list[Row]]:
    return rows_of()


@cache
def paper_rows() -> dict[str, list[Row]]:
    return rows_of("paper", merges_labels=False, least_share=0.03)


def scores(rows: list[Row], setting: str, part: str = "hull", column: str = "score") -> list[float]:
    found = [row for row in rows if (row["setting"], row["part"]) == (setting, part)]
    return [row[column] for row in sorted(found, key=lambda row: row["layer"])]


@cache
def scene() -> tuple[Any, Any, Any]:
    """The inputs, the positions of the boat's hull, and those of the other patches."""
    context = boat()
    example = context.data[0]
    inputs = demo().prepare(example.image, "USER: <image>", template="literal")
    hull = inputs.layout.region(example.targets[0].parts["hull"])
    return inputs, sorted(hull.patch_ids), sorted((~hull).patch_ids)


def blocked(setting: str, keeps_class_token: bool) -> set[Any]:
    inputs, hull, others = scene()
    first = inputs.layout.image_span().start
    found: set[Any] = set()
    if setting in (ENCODER, FULL):
        hidden = [patch + 1 for patch in others] + ([] if keeps_class_token else [0])
        target = [patch + 1 for patch in hull]
        found |= edges("vision", range(6), range(4), 0, target, hidden)
        found |= edges("vision", range(6), range(4), 0, hidden, target)
    if setting in (DECODER, FULL):
        found |= edges("decoder", range(6), range(6), 0, [first + p for p in hull], [first + p for p in others])
    return found


def naive_scores(setting: str, label: str, keeps_class_token: bool = False) -> tuple[list[float], list[float]]:
    """The best score over the hull's patches after each layer, and the mean of the best elsewhere, by plain loops."""
    inputs, hull, others = scene()
    first, plain = inputs.layout.image_span().start, plain_demo()
    states: dict[int, torch.Tensor] = {}

    def keep(number: int) -> Any:
        def kept(stream: torch.Tensor) -> torch.Tensor:
            states[number] = stream[0].clone()
            return stream

        return kept

    edits = {"embed": keep(0), **{("decoder", "layer", layer): keep(layer + 1) for layer in range(6)}}
    with torch.no_grad():
        plain.logits(dict(inputs), blocked(setting, keeps_class_token), edits)
        language = plain.hf.model.language_model
        tokens = label_tokens(label, demo().tokenizer, PartIdentification.Options()).tokens
        best, elsewhere = [], []
        for number in range(7):
            probabilities = plain.hf.lm_head(language.norm(states[number])).double().softmax(dim=-1).numpy()
            patches = [score_of(probabilities[first + patch], tokens) for patch in range(144)]
            best.append(max(patches[patch] for patch in hull))
            elsewhere.append(mean_of_largest([patches[patch] for patch in others], len(hull)))
    return best, elsewhere


def score_of(probabilities: np.ndarray, tokens: tuple[int, ...]) -> float:
    own = sum(probabilities[token] for token in tokens)
    rank = 1
    for token, probability in enumerate(probabilities):
        if token not in tokens and probability > own:
            rank += 1
    return 1 - float(np.log(rank) / np.log(len(probabilities)))


def mean_of_largest(values: list[float], n: int) -> float:
    """Over 4000 draws of n of them."""
    random = np.random.default_rng(0)
    drawn = [max(random.choice(values, n, replace=False)) for _ in range(4000)]
    return float(np.mean(drawn))


@pytest.mark.parametrize("setting", [NONE, ENCODER, DECODER, FULL])
def test_scores_are_those_of_the_written_out_attention(setting: str) -> None:
    best, elsewhere = naive_scores(setting, "hull")
    rows = default_rows()["scores"]
    np.testing.assert_allclose(scores(rows, setting), best, atol=0.004)  # one rank where two tokens all but tie
    np.testing.assert_allclose(scores(rows, setting, column="null"), elsewhere, atol=0.01)


def test_the_object_is_read_at_the_parts_patches() -> None:
    best, _ = naive_scores(FULL, "boat")
    np.testing.assert_allclose(scores(default_rows()["scores"], FULL, column="object_score"), best, atol=0.004)


def test_with_the_papers_preset_the_class_token_stays() -> None:
    best, _ = naive_scores(ENCODER, "hull", keeps_class_token=True)
    paper, ours = (scores(rows()["scores"], ENCODER) for rows in (paper_rows, default_rows))
    np.testing.assert_allclose(paper, best, atol=0.004)
    assert np.abs(np.subtract(paper, ours)).max() > 0.01


@pytest.mark.parametrize("setting", [NONE, DECODER])
def test_presets_agree_where_the_vision_tower_is_left_alone(setting: str) -> None:
    paper, ours = paper_rows()["scores"], default_rows()["scores"]
    np.testing.assert_allclose(scores(paper, setting), scores(ours, setting), atol=1e-12)


def test_the_encoder_changes_what_enters_the_decoder_and_the_decoder_does_not() -> None:
    rows = default_rows()["scores"]
    assert scores(rows, DECODER)[0] == scores(rows, NONE)[0]
    assert scores(rows, FULL)[0] == scores(rows, ENCODER)[0]
    assert any(scores(rows, ENCODER, part)[0] != scores(rows, NONE, part)[0] for part in ("hull", "mast", "sail"))


def test_merged_labels_have_other_ranks() -> None:
    alone, merged = (
        np.array([row["score"] for row in rows_of(classes="cow", settings="none", merges_labels=one)["scores"]])
        for one in (False, True)
    )
    assert len(alone) == len(merged) and 0.001 < np.abs(alone - merged).max() < 0.2


def test_a_threshold_takes_patches_away() -> None:
    loose, strict = (
        {row["part"]: row["n_patches"] for row in rows_of(settings="none", threshold=t)["regions"]} for t in (0, 0.5)
    )
    assert all(strict[part] <= loose[part] for part in loose)
    assert strict["mast"] == 0 and loose["mast"] > 0


def test_a_part_without_a_patch_has_a_region_row_and_no_score() -> None:
    rows = rows_of(settings="none", threshold=0.5)
    parts = {row["part"] for row in rows["scores"]}
    assert "mast" not in parts and "mast" in {row["part"] for row in rows["regions"]}


def test_rows_do_not_depend_on_the_shard() -> None:
    context = context_of(
        PartIdentification(), 9, classes="boat,ball", settings="none", least_share=0.03, caption_tokens=4
    )
    together = PartIdentification().rows(context, context.data[:2])
    alone = [PartIdentification().rows(context, [example]) for example in reversed(context.data[:2])]
    for name in together:
        assert list(together[name]) == [row for rows in reversed(alone) for row in rows[name]]


def test_every_setting_is_in_the_grid() -> None:
    context = boat()
    grid = PartIdentification().grid(context, context.data[0])
    n_parts = len(context.data[0].targets[0].parts)
    assert len(grid.conditions) == 1 + 6 * n_parts
    assert len(rows_of(settings="knockouts")["scores"]) == 7 * 4 * n_parts
