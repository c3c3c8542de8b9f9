"""What is kept of the attention of a description: the same as the written-out attention of plain transformers says."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from tests.experiments.described_scenes import SHORT, context_of, demo, plain_demo
from vlm_lens.experiments.attention_shares import AttentionShares
from vlm_lens.experiments.attention_shares.reading import BOS, EDGES, GENERATED, IMAGE, TEXT, TEXT_BUT_BOS
from vlm_lens.experiments.descriptions import describing

N_LAYERS = 6


@cache
def rows(**options: Any) -> dict[str, list[dict[str, Any]]]:
    context = context_of(AttentionShares(), 2, max_new_tokens=SHORT, n_maps=1, **options)
    return {name: list(found) for name, found in AttentionShares().rows(context, context.data).items()}


@cache
def written_out() -> tuple[torch.Tensor, Any]:
    """`[layer step key_pos]` of the rows that produce each token, mean over heads; and the whole layout."""
    context = context_of(AttentionShares(), 1, max_new_tokens=SHORT)
    inputs = describing(context, context.data[0])
    run, plain = demo().generate(inputs, max_new_tokens=SHORT), plain_demo()
    with torch.no_grad():
        plain.step_logits(inputs, run.tokens)  # its last pass holds every row
    patterns = torch.stack([plain.patterns["decoder", layer][0].mean(dim=0) for layer in range(N_LAYERS)])
    n = inputs.layout.n_prompt
    return patterns[:, n - 1 : n - 1 + SHORT], run.layout


def of_first(table: str) -> list[dict[str, Any]]:
    found = rows()[table]
    return [row for row in found if row["example"] == found[0]["example"]]


def test_shares_and_their_squares_are_those_of_the_written_out_attention() -> None:
    weights, layout = written_out()
    groups: dict[str, list[int]] = {name: list(layout.positions(name)) for name in (BOS, IMAGE, GENERATED, "question")}
    groups[TEXT] = list(layout.positions("prompt_text"))
    groups[TEXT_BUT_BOS] = [one for one in groups[TEXT] if one not in groups[BOS]]
    found = {(row["layer"], row["group"]): row for row in of_first("shares")}
    for layer in range(N_LAYERS):
        for name, positions in groups.items():
            seen = [one for one in positions if one < weights.shape[-1]]  # the last token is never a key
            shares = weights[layer][:, seen].sum(dim=-1).double()
            row = found[layer, name]
            assert row["mean"] == pytest.approx(float(shares.mean()), abs=1e-5)
            assert row["square"] == pytest.approx(float(shares.square().mean()), abs=1e-5)
            assert row["n_queries"] == SHORT
        assert sum(found[layer, name]["mean"] for name in (IMAGE, TEXT, GENERATED)) == pytest.approx(1, abs=1e-5)


def test_maps_and_tails_are_means_over_the_same_rows() -> None:
    weights, layout = written_out()
    image = list(layout.positions(IMAGE))
    mean = weights[:, :, image].mean(dim=1).double()
    found = sorted(of_first("maps"), key=lambda row: (row["layer"], row["patch_row"], row["patch_col"]))
    got = np.array([row["attention"] for row in found]).reshape(N_LAYERS, -1)
    np.testing.assert_allclose(got, mean.numpy(), atol=1e-6)
    for row in of_first("tails"):
        best = np.sort(mean[row["layer"]].numpy())[::-1][:7]  # int(0.05 x 144)
        assert (row["n_top"], row["n_image"]) == (7, 144)
        assert row["top_share"] == pytest.approx(best.sum() / mean[row["layer"]].sum().item(), rel=1e-4)


@pytest.mark.parametrize(("of", "n_weights"), [("means", 144), ("queries", 144 * SHORT)])
def test_every_weight_falls_into_one_bin(of: str, n_weights: int) -> None:
    found = rows(histogram_of=of)["histogram"]
    first = [row for row in found if row["example"] == found[0]["example"]]
    for layer in range(N_LAYERS):
        assert sum(row["count"] for row in first if row["layer"] == layer) == n_weights
    if of == "means":
        weights, layout = written_out()
        values = weights[0][:, list(layout.positions(IMAGE))].mean(dim=0).double().numpy()
        counts = {row["bin"]: row["count"] for row in first if row["layer"] == 0}
        inside = [place for place, count in enumerate(np.histogram(np.log10(values), EDGES)[0]) if count]
        # A weight that lies on an edge may fall to either side by rounding.
        assert abs(sum(counts[place] for place in inside if place in counts) - n_weights) <= 1


def test_maps_and_pictures_are_kept_of_the_first_pictures_alone() -> None:
    found = rows()
    first = found["shares"][0]["example"]
    assert {row["example"] for row in found["shares"]} > {first}
    assert {row["example"] for row in found["maps"]} == {row["example"] for row in found["pictures"]} == {first}


def test_memory_does_not_grow_with_the_description() -> None:
    """Rows per picture depend on layers and patches, never on tokens."""
    context = context_of(AttentionShares(), 1, max_new_tokens=2 * SHORT, n_maps=1)
    longer = AttentionShares().rows(context, context.data)
    for table in ("shares", "tails", "maps"):
        assert len(longer[table]) == len(of_first(table))
