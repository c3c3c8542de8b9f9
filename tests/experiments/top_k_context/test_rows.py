"""Descriptions of a few image tokens: equal to plain loops, and where the presets part."""

from typing import Any

import pytest
import torch

from tests.experiments.described_scenes import SHORT, context_of, demo, plain_demo
from tests.interventions.plain_transformers import edges
from vlm_lens.errors import InputError
from vlm_lens.experiments.descriptions import describing
from vlm_lens.experiments.top_k_context import TopKContexts
from vlm_lens.experiments.top_k_context.experiment import Kept

N_HEADS, N_LAYERS, N_IMAGE = 6, 6, 144


def rows_of(n: int = 1, preset: str = "default", **options: Any) -> list[dict[str, Any]]:
    context = context_of(TopKContexts(), n, preset, max_new_tokens=SHORT, **options)
    return list(TopKContexts().rows(context, context.data)["descriptions"])


@torch.no_grad()
def test_a_description_of_the_most_attended_tokens_equals_a_loop_of_plain_transformers() -> None:
    """The ranking is worked out anew from written-out attention, and so is what is blocked."""
    context = context_of(TopKContexts(), 1, max_new_tokens=SHORT, shares=(0.05,), controls=())
    inputs, plain = describing(context, context.data[0]), plain_demo()
    image, n = list(inputs.layout.positions("image")), inputs.layout.n_prompt
    own, _ = plain.greedy(inputs, SHORT)
    plain.step_logits(inputs, own)
    hidden = {}
    for layer in range(N_LAYERS):
        pattern = plain.patterns["decoder", layer][0].mean(dim=0)[n - 1 : n - 1 + SHORT]
        means = pattern[:, image].mean(dim=0).tolist()
        best = sorted(range(N_IMAGE), key=lambda place, means=means: -means[place])[: int(0.05 * N_IMAGE)]
        hidden[layer] = [position for place, position in enumerate(image) if place not in best]

    def blocked(n_positions: int) -> Any:
        rows = range(n - 1, n_positions)
        return {edge for layer in hidden for edge in edges("decoder", [layer], range(N_HEADS), 0, rows, hidden[layer])}

    tokens, _ = plain.greedy(inputs, SHORT, blocked)
    (found,) = [row for row in rows_of(shares=(0.05,), controls=()) if row["order"] == "top"]
    assert found["n_kept"] == 7
    assert found["text"] == demo().tokenizer.decode(tokens[0].tolist(), skip_special_tokens=True).strip()


def test_of_each_share_the_whole_tokens_stay_and_without_any_all_are_blocked() -> None:
    found = [(row["order"], row["share"], row["n_kept"]) for row in rows_of(shares=(0.0, 0.004, 0.05, 0.5))]
    counts = [(0.0, 0), (0.004, 0), (0.05, 7), (0.5, 72)]
    assert found == [
        ("all", 1.0, N_IMAGE),
        *[("top", *one) for one in counts],
        *[("random", *one) for one in counts if one[1]],
    ]
    texts = {row["share"]: row["text"] for row in rows_of(shares=(0.0, 0.004), controls=())}
    assert texts[0.0] == texts[0.004]


def test_the_presets_part_at_the_control_and_at_the_first_token_and_agree_on_the_ranking() -> None:
    grids, found = {}, {}
    for preset in ("default", "paper"):
        same = {"prompt": "Describe this image.", "template": None, "pad_to_square": False}
        context = context_of(TopKContexts(), 1, preset, max_new_tokens=2, shares=(0.02,), **same)
        grids[preset] = TopKContexts().grid(context, context.data[0])
        found[preset] = context.sweep(grids[preset])
    assert list(grids["default"].conditions) == [Kept("top", 0.02, 2), Kept("random", 0.02, 2)]
    assert list(grids["paper"].conditions) == [Kept("top", 0.02, 2)]
    rankings = [one.conditions["top", 0.02, 2].ranking for one in grids.values()]
    torch.testing.assert_close(rankings[0], rankings[1])
    first = {preset: cells[0].generation.logits[0, 0] for preset, cells in found.items()}
    clean = found["paper"].clean.generation.logits[0, 0]
    assert torch.equal(first["paper"], clean)  # the last prompt row still sees everything
    assert float((first["default"] - clean).abs().max()) > 1e-2


def test_what_is_drawn_depends_on_the_picture_and_nothing_else() -> None:
    together = rows_of(2, shares=(0.05,))
    context = context_of(TopKContexts(), 2, max_new_tokens=SHORT, shares=(0.05,))
    alone = TopKContexts().rows(context, [context.data[1]])["descriptions"]
    assert list(alone) == [row for row in together if row["example"] == context.data[1].id]
    seeds = {TopKContexts().grid(context, one).conditions["random", 0.05, 7].seed for one in context.data}
    assert len(seeds) == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [({"shares": (1.0,)}, "below 1"), ({"shares": ()}, "one or more"), ({"controls": ("top",)}, "bottom")],
)
def test_what_makes_no_sense_is_refused(given: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        context_of(TopKContexts(), 1, **given)
