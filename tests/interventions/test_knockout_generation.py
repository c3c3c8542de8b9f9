"""A knockout holds at every step of cached generation: against the uncached loop on plain transformers.

fp32, absolute: the cache adds nothing but the order of sums, some 1e-6 a step on logits of size 5.
"""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from tests.interventions.plain_transformers import Edge, Plain, edges
from tests.interventions.scenes_of_numbers import (
    FAMILIES,
    N_LAYERS,
    TARGETS,
    Blocks,
    Row,
    blocked_edges,
    checkpoint,
    mapping,
    patch_mask,
    rows_of,
)
from vlm_lens import AttentionKnockout, Except, HookedVLM, Inputs, Region
from vlm_lens.demo import vlm_folder
from vlm_lens.demo.examples import ExampleScene, example_scenes

N_STEPS = 4
TOLERANCE = 1e-4


@cache
def scene_of(family: str) -> tuple[HookedVLM, dict[str, Tensor], Inputs, list[Region]]:
    vlm, given = HookedVLM.from_hf(checkpoint(family)), mapping(family)
    inputs = vlm.as_inputs(given)
    cats = [inputs.layout.patches(patch_mask(patches), row=row) for row, patches in enumerate(TARGETS)]
    return vlm, given, inputs, cats


def first_generated(row: Row) -> set[int]:
    """Where the first and third generated tokens stand."""
    return {row.last + 1, row.last + 3} & row.generated


CASES: dict[str, tuple[Callable[[list[Region], int], list[AttentionKnockout]], Blocks]] = {
    "image to generated": (
        lambda cats, n: [AttentionKnockout("predicting", "image")],
        lambda r: [({r.last, *r.generated}, r.everything)],
    ),
    "image to generated, from the second token on": (
        lambda cats, n: [AttentionKnockout("generated", "image")],
        lambda r: [(r.generated, r.everything)],
    ),
    "image to both": (
        lambda cats, n: [AttentionKnockout(["prompt_text", "predicting"], "image")],
        lambda r: [(r.text | r.generated, r.everything)],
    ),
    "region to question and all that follows": (
        lambda cats, n: [AttentionKnockout("text", cats)],
        lambda r: [(r.text | r.generated, r.target)],
    ),
    "generated tokens among themselves": (
        lambda cats, n: [AttentionKnockout("generated", Except("generated", but=slice(n + 2, None)))],
        lambda r: [(r.generated, {r.last + 1, r.last + 2} & r.generated)],
    ),
    "positions of tokens to come": (
        lambda cats, n: [AttentionKnockout([n, n + 2], "image")],
        lambda r: [(first_generated(r), r.everything)],
    ),
    "two objects": (
        lambda cats, n: [AttentionKnockout("predicting", cats), AttentionKnockout("text", -4)],
        lambda r: [({r.last, *r.generated}, r.target), (r.text | r.generated, {r.last - 3})],
    ),
}


@pytest.mark.parametrize("family", FAMILIES[:3])
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_each_cached_step_equals_the_uncached_loop(case: str, family: str) -> None:
    build, blocks = CASES[case]
    vlm, given, inputs, cats = scene_of(family)
    run = vlm.generate(inputs, *build(cats, inputs.shape[1]), max_new_tokens=N_STEPS, eos_token_id=())
    plain = Plain(checkpoint(family))
    slow = plain.step_logits(
        given, run.tokens, lambda n: blocked_edges(rows_of(family, given, n), blocks, range(N_LAYERS))
    )
    assert float((run.logits - slow).abs().max()) <= TOLERANCE
    clean = plain.step_logits(given, run.tokens)
    moved = (slow - clean).abs().amax(dim=(0, 2))
    is_free = [step for step in range(N_STEPS) if not blocks_anything(family, given, blocks, step)]
    assert all((moved[step] == 0) == (step in is_free) for step in range(N_STEPS)), (moved, is_free)
    uncached = vlm.generate(
        inputs, *build(cats, inputs.shape[1]), max_new_tokens=N_STEPS, eos_token_id=(), use_cache=False
    )
    assert torch.equal(uncached.tokens, run.tokens)
    torch.testing.assert_close(uncached.logits, run.logits, atol=TOLERANCE, rtol=0)


def blocks_anything(family: str, given: dict[str, Tensor], blocks: Blocks, step: int) -> bool:
    """Whether a pass of so many generated tokens loses an edge that causality and the window would allow it."""
    window = getattr(checkpoint(family).config.text_config, "sliding_window", None) or 10_000
    n = given["input_ids"].shape[1] + step
    return any(
        key <= query < n and query - key < window
        for row in rows_of(family, given, n)
        for queries, keys in blocks(row)
        for query in queries
        for key in keys
    )


@torch.no_grad()
def test_the_tower_and_single_heads_hold_under_generation_too() -> None:
    family = "grouped heads"
    vlm, given, inputs, cats = scene_of(family)
    tower = AttentionKnockout(cats, [~cat for cat in cats], layers=[0, 2], tower="vision", bidirectional=True)
    heads = AttentionKnockout("predicting", "image", layers=range(1, 3), heads=[0, 3])
    run = vlm.generate(inputs, tower, heads, max_new_tokens=N_STEPS, eos_token_id=())

    def blocked(n: int) -> set[Edge]:
        rows = rows_of(family, given, n)
        seen = blocked_edges(rows, lambda r: [(r.seen, r.unseen), (r.unseen, r.seen)], [0, 2], None, "vision")
        return seen | blocked_edges(rows, lambda r: [({r.last, *r.generated}, r.everything)], range(1, 3), [0, 3])

    slow = Plain(checkpoint(family)).step_logits(given, run.tokens, blocked)
    assert float((run.logits - slow).abs().max()) <= TOLERANCE


@torch.no_grad()
def test_the_papers_preset_leaves_the_first_token_free_and_ours_does_not() -> None:
    vlm, _, inputs, _ = scene_of("grouped heads")
    clean = vlm.generate(inputs, max_new_tokens=2, eos_token_id=()).logits[:, 0]
    paper = vlm.generate(inputs, AttentionKnockout("generated", "image"), max_new_tokens=2, eos_token_id=())
    ours = vlm.generate(inputs, AttentionKnockout("predicting", "image"), max_new_tokens=2, eos_token_id=())
    assert torch.equal(paper.logits[:, 0], clean)
    assert not torch.equal(ours.logits[:, 0], clean)


@cache
def demo() -> tuple[HookedVLM, LlavaForConditionalGeneration]:
    slow = LlavaForConditionalGeneration.from_pretrained(vlm_folder(), dtype=torch.float32, attn_implementation="sdpa")
    return HookedVLM.demo(), slow.eval()


@pytest.mark.parametrize("example", [one for one in example_scenes() if one.subject], ids=lambda one: one.name)
@torch.no_grad()
def test_greedy_ids_on_the_bundled_model_are_those_of_the_slow_loop(example: ExampleScene) -> None:
    vlm, hf = demo()
    inputs = vlm.prepare(Image.fromarray(example.scene.image), example.turn.question)
    assert example.subject is not None
    cat = inputs.layout.region(example.subject.mask).dilate(1)
    blind = AttentionKnockout("text", cat, layers=range(1, 5))
    n_steps = 3
    run = vlm.generate(inputs, blind, max_new_tokens=n_steps, eos_token_id=())
    start = inputs["input_ids"][0].tolist().index(vlm.image_token_id)
    words = {place for place, token in enumerate(inputs["input_ids"][0].tolist()) if token != vlm.image_token_id}
    n_heads, columns = hf.config.text_config.num_attention_heads, cat.span.grid.n_cols
    keys = [start + place for place, is_in in enumerate(cat.patches.flatten().tolist()) if is_in]
    assert columns == 12 and len(keys) == len(cat)

    def blocked(n: int) -> set[Edge]:
        rows = words | set(range(inputs.shape[1], n))
        return edges("decoder", range(1, 5), range(n_heads), 0, rows, keys)

    tokens, logits = Plain(hf).greedy(inputs, n_steps, blocked)
    assert torch.equal(tokens, run.tokens)
    assert float((logits - run.logits).abs().max()) <= TOLERANCE
