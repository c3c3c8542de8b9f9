"""Whatever is done to a run, and where: a shared run gives what runs of their own give, and computes no more."""

from functools import cache
from typing import Any

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.recompute.held_to_runs import assert_near
from tests.tiny_models import IMAGE, tiny_llava
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import ActivationPatch, AttentionKnockout, HookedVLM, NoiseAblation, Steer, ZeroAblation
from vlm_lens.errors import EmptySelectionError, HookError
from vlm_lens.inputs import Inputs
from vlm_lens.recompute import SharedRun

FAMILIES = ("llama", "mistral, window shorter than the prompt", "class token kept")
PROMPTS = {"one": [(3, IMAGE, 5)], "padded": [(2, IMAGE, 6), (1, IMAGE, 4)]}
N_LAYERS, N_HEADS, N_POSITIONS = 3, 4, 24


@cache
def vlm_of(family: str) -> HookedVLM:
    return HookedVLM.from_hf(tiny_llava(family))


@cache
def inputs_of(family: str, prompts: str, seed: int = 0) -> Inputs:
    return vlm_of(family).as_inputs(new_mapping(tiny_llava(family), PROMPTS[prompts], seed))


@cache
def source_of(family: str, prompts: str) -> Any:
    names = ["blocks.*.attn.hook_z", "blocks.*.hook_resid_pre", "vision.blocks.*.hook_resid_mid"]
    return vlm_of(family).run(inputs_of(family, prompts, seed=1), names_filter=names)


PLACES = st.sampled_from(["last", "image", "text"]) | st.lists(
    st.integers(0, N_POSITIONS - 1), min_size=1, max_size=3, unique=True
)
PATCHES = st.lists(st.integers(1, 16), min_size=1, max_size=4, unique=True)
LAYERS = st.sets(st.integers(0, N_LAYERS - 1), min_size=1, max_size=2).map(sorted)
HEADS = st.none() | st.sets(st.integers(0, N_HEADS - 1), min_size=1, max_size=2).map(sorted)
STREAMS = st.sampled_from(["hook_resid_pre", "hook_resid_mid", "hook_attn_out", "mlp.hook_post", "attn.hook_q"])
DESCRIBED = st.one_of(
    st.tuples(st.just("knockout"), PLACES, PLACES, LAYERS, HEADS, st.booleans()),
    st.tuples(st.just("seen"), PATCHES, PATCHES, LAYERS, HEADS, st.booleans()),
    st.tuples(st.just("noise"), PLACES, STREAMS, LAYERS),
    st.tuples(st.just("zero"), PATCHES, st.sampled_from(["vision.hook_embed", "projector.hook_out"])),
    st.tuples(st.just("patch"), PLACES, LAYERS, HEADS),
    st.tuples(st.just("steer"), PLACES, LAYERS),
)
"""What is done, in plain values."""


def made(drawn: tuple[Any, ...], family: str, prompts: str) -> Any:
    what, *of = drawn
    if what in ("knockout", "seen"):
        queries, keys, layers, heads, both = of
        tower: Any = "vision" if what == "seen" else "decoder"
        return AttentionKnockout(queries, keys, layers=layers, heads=heads, bidirectional=both, tower=tower)
    if what == "noise":
        return NoiseAblation(of[0], f"blocks.*.{of[1]}", layers=of[2], scale=1.5)
    if what == "zero":
        return ZeroAblation([place - (of[1] != "vision.hook_embed") for place in of[0]], of[1])
    if what == "patch":
        return ActivationPatch(source_of(family, prompts), "blocks.*.attn.hook_z", of[0], layers=of[1], heads=of[2])
    return Steer(torch.ones(48), "blocks.*.hook_resid_post", of[0], layers=of[1])


@settings(max_examples=15)
@given(
    st.lists(st.lists(DESCRIBED, max_size=2), min_size=1, max_size=4),
    st.sampled_from(FAMILIES),
    st.sampled_from(list(PROMPTS)),
    st.sampled_from(["last", "all", "image", [20]]),
    st.sampled_from([5, 4096]),
)
def test_conditions_give_what_runs_of_their_own_give(
    drawn: list[list[tuple[Any, ...]]], family: str, prompts: str, wanted: Any, max_rows: int
) -> None:
    vlm, inputs = vlm_of(family), inputs_of(family, prompts)
    conditions = [[made(one, family, prompts) for one in several] for several in drawn]
    try:
        expected = [vlm.run(inputs, *objects).logits for objects in conditions]
    except (EmptySelectionError, HookError):  # nothing is blocked, or a query is left alone
        assume(False)
    shared = SharedRun(vlm, inputs, conditions, wanted, max_rows=max_rows)
    rows = torch.from_numpy(shared.planned.wanted).nonzero().flatten()
    for objects, outcome, logits in zip(conditions, shared.run(), expected, strict=True):
        assert_near(outcome.logits, logits[:, rows], f"{objects}")
    for one in shared.planned.variants:
        assert not one.reach.why_in_full and one.decoder is not None
        n_computed = sum(0 if rows is None else len(rows) for rows in one.decoder.entered)
        assert n_computed <= shared.planned.n_shared_rows * N_LAYERS
        assert all(len(asking) <= len(found) for asking, found in zip(
            one.decoder.asking, one.decoder.entered, strict=True) if found is not None)  # fmt: skip


@settings(max_examples=8)
@given(st.lists(DESCRIBED, min_size=1, max_size=3), st.sampled_from(FAMILIES))
def test_a_condition_gives_the_same_whoever_is_run_beside_it(drawn: list[tuple[Any, ...]], family: str) -> None:
    vlm, inputs = vlm_of(family), inputs_of(family, "padded")
    objects = [made(one, family, "padded") for one in drawn]
    try:
        together = SharedRun(vlm, inputs, [[one] for one in objects]).run()
    except (EmptySelectionError, HookError):
        assume(False)
    for one, outcome in zip(objects, together, strict=True):
        assert_near(outcome.logits, SharedRun(vlm, inputs, [[one]]).run()[0].logits, f"{one}")
