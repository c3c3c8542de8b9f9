"""Whatever the regions, layers, heads, rows and padding: what a knockout must always do, and never."""

from functools import cache
from typing import Any

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.interventions.plain_transformers import Plain, edges
from tests.model.tiny_vlms import tiny_checkpoint, tiny_vlm
from tests.tiny_models import IMAGE, IMAGE_TOKEN, N_PATCHES
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import AttentionKnockout, HookedVLM, Inputs
from vlm_lens.errors import EmptySelectionError, HookError

PATTERNS, STREAMS, MASKS = "blocks.*.attn.hook_pattern", "blocks.*.hook_resid_post", "blocks.*.attn.hook_mask"
N_LAYERS, N_HEADS = 2, 4
Prompts = tuple[tuple[int, int], ...]
FEW = settings(max_examples=12, deadline=None, derandomize=True)
FAMILIES = st.sampled_from(["grouped heads", "sliding window"])
PROMPTS = st.lists(st.tuples(st.integers(1, 4), st.integers(2, 6)), min_size=1, max_size=2).map(tuple)
"""For each row of the batch: words before the picture, and after it."""


@cache
def model(family: str) -> HookedVLM:
    return tiny_vlm(family)


@cache
def inputs_of(prompts: Prompts) -> Inputs:
    rows = [(before, IMAGE, after) for before, after in prompts]
    return model("grouped heads").as_inputs(new_mapping(tiny_checkpoint(), rows))


PATCHES = st.sets(st.integers(0, N_PATCHES - 1), min_size=1, max_size=8)
EDGES = st.fixed_dictionaries(
    {
        "patches": st.tuples(PATCHES, PATCHES) | st.tuples(PATCHES, st.just(set())),
        "queries": st.sampled_from(["last", "prompt_text", "text", "image", "last_row", -1, [-1, -2], slice(-3, None)]),
        "layers": st.sets(st.integers(0, N_LAYERS - 1), min_size=1).map(sorted),
        "heads": st.none() | st.sets(st.integers(0, N_HEADS - 1), min_size=1).map(sorted),
        "bidirectional": st.booleans(),
    }
)
"""Keys that are patches of each row's picture (perhaps none of the second's), queries, and where."""


def fields_of(inputs: Inputs, drawn: dict[str, Any]) -> dict[str, Any]:
    """What a knockout is made of; strategies themselves draw plain values."""
    keys = []
    for row, patches in zip(range(inputs.shape[0]), drawn["patches"], strict=False):
        marked = torch.isin(torch.arange(N_PATCHES), torch.tensor(sorted(patches))).view(4, 4)
        keys += [inputs.layout.patches(marked, row=row)] if patches else []
    return {"keys": keys, **{name: value for name, value in drawn.items() if name != "patches"}}


def blocked_by(knockout: AttentionKnockout, inputs: Inputs) -> Tensor:
    """`[batch query_pos key_pos]`, edge by edge from the positions that the layout names."""
    blocked = torch.zeros(inputs.shape[0], inputs.shape[1], inputs.shape[1], dtype=torch.bool)
    for row in range(inputs.shape[0]):
        queries = inputs.layout.positions(knockout.queries, row)
        keys = [place for one in knockout.keys if one.row == row for place in one.positions]
        for query in queries:
            for key in keys:
                blocked[row, query, key] = True
                blocked[row, key, query] |= knockout.bidirectional
    return blocked


def run_or_assume(vlm: HookedVLM, inputs: Inputs, *objects: Any, names: Any = None) -> Any:
    """A run; one that leaves a query alone, or blocks nothing as its window ends before, is no example."""
    try:
        return vlm.run(inputs, *objects, names_filter=names)
    except (EmptySelectionError, HookError):
        assume(False)


@FEW
@given(EDGES, FAMILIES, PROMPTS)
def test_rows_sum_to_one_and_blocked_weights_are_zero(drawn: dict[str, Any], family: str, prompts: Prompts) -> None:
    inputs = inputs_of(prompts)
    knockout = AttentionKnockout(**fields_of(inputs, drawn))
    names = lambda name: name.startswith("blocks.") and name.endswith(("hook_pattern", "hook_mask"))  # noqa: E731
    cache = run_or_assume(model(family), inputs, knockout, names=names).cache
    clean = model(family).run(inputs, names_filter=names).cache
    assert clean is not None
    blocked, is_real = blocked_by(knockout, inputs), inputs["attention_mask"].bool()
    for layer in range(N_LAYERS):
        pattern, mask = (cache[f"blocks.{layer}.attn.hook_{what}"] for what in ("pattern", "mask"))
        before = clean[f"blocks.{layer}.attn.hook_mask"]
        for head in range(N_HEADS):
            is_chosen = layer in knockout.layers and (knockout.heads is None or head in knockout.heads)
            gone = blocked if is_chosen else torch.zeros_like(blocked)
            weights, allowed = pattern[:, head], mask[:, head % mask.shape[1]]
            assert float((weights.sum(dim=-1)[is_real] - 1).abs().max()) <= 1e-6
            assert bool((weights[gone] == 0).all())
            assert torch.equal(allowed, before[:, 0] & ~gone)
            assert bool((weights[allowed] > 0).all()), "an edge that stays open has weight"


@FEW
@given(EDGES, FAMILIES, PROMPTS)
def test_rows_before_the_first_touched_position_keep_every_bit(
    drawn: dict[str, Any], family: str, prompts: Prompts
) -> None:
    inputs = inputs_of(prompts)
    knockout = AttentionKnockout(**fields_of(inputs, drawn))
    names = lambda name: name.startswith("blocks.") and name.endswith("hook_resid_post")  # noqa: E731
    run = run_or_assume(model(family), inputs, knockout, names=names)
    clean = model(family).run(inputs, names_filter=names)
    touched = blocked_by(knockout, inputs).any(dim=(0, 2)).nonzero().flatten()
    first, first_layer = int(touched[0]), min(knockout.layers)
    assert torch.equal(run.logits[:, :first], clean.logits[:, :first])
    assert clean.cache is not None
    for layer in range(N_LAYERS):
        name = f"blocks.{layer}.hook_resid_post"
        rows = slice(None) if layer < first_layer else slice(first)
        assert torch.equal(run.cache[name][:, rows], clean.cache[name][:, rows])


@FEW
@given(EDGES, FAMILIES, PROMPTS)
def test_the_logits_are_those_of_the_edges_listed_one_by_one(
    drawn: dict[str, Any], family: str, prompts: Prompts
) -> None:
    inputs = inputs_of(prompts)
    knockout = AttentionKnockout(**fields_of(inputs, drawn))
    run = run_or_assume(model(family), inputs, knockout)
    listed = blocked_by(knockout, inputs).nonzero().tolist()
    heads = range(N_HEADS) if knockout.heads is None else knockout.heads
    blocked = {
        edge for row, query, key in listed for edge in edges("decoder", knockout.layers, heads, row, [query], [key])
    }
    with torch.no_grad():
        slow = Plain(tiny_checkpoint(family)).logits(inputs, blocked)
    is_real = inputs["attention_mask"].bool()
    # fp32, another order of sums: some 1e-6 of the largest logit.
    assert float((run.logits - slow)[is_real].abs().max()) <= 1e-5 * float(slow[is_real].abs().max())


@FEW
@given(EDGES, st.tuples(PATCHES, PATCHES), FAMILIES, PROMPTS)
def test_one_after_another_is_the_union_in_any_order(
    drawn: dict[str, Any], others: tuple[set[int], set[int]], family: str, prompts: Prompts
) -> None:
    inputs = inputs_of(prompts)
    first, second = (fields_of(inputs, one) for one in (drawn, {**drawn, "patches": others}))
    shared = {**first, "keys": [*first["keys"], *second["keys"]]}
    whole, one, two = (AttentionKnockout(**fields) for fields in (shared, first, second))
    union = run_or_assume(model(family), inputs, whole).logits
    assert torch.equal(run_or_assume(model(family), inputs, one, two).logits, union)
    assert torch.equal(run_or_assume(model(family), inputs, two, one).logits, union)


@FEW
@given(EDGES, st.integers(0, 10), PROMPTS)
def test_what_means_no_edge_is_refused_or_changes_no_bit(drawn: dict[str, Any], which: int, prompts: Prompts) -> None:
    inputs = inputs_of(prompts)
    fields = fields_of(inputs, drawn)
    empty: dict[str, Any] = [
        {"queries": []}, {"keys": []}, {"queries": "generated"}, {"keys": "newline"}, {"layers": [N_LAYERS]},
        {"queries": fields["keys"][0] & ~fields["keys"][0]}, {"keys": ~inputs.layout.patches()},
        {"queries": "pad"}, {"queries": "image", "keys": "last", "bidirectional": False},
        {"keys": torch.zeros(inputs.shape, dtype=torch.bool)}, {"queries": slice(3, 3)},
    ][which]  # fmt: skip
    vlm = model("grouped heads")
    for on_empty in ("raise", "skip"):
        knockout = AttentionKnockout(**{**fields, **empty}, on_empty=on_empty)
        try:
            assert torch.equal(vlm.run(inputs, knockout).logits, vlm(inputs)) and on_empty == "skip"
        except EmptySelectionError:
            assert on_empty == "raise"


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    EDGES, st.sampled_from(["predicting", "generated", "text", "first of both"]), FAMILIES, PROMPTS, st.integers(2, 4)
)
def test_cached_steps_are_those_of_the_loop_without_a_cache(
    drawn: dict[str, Any], named: str, family: str, prompts: Prompts, n_steps: int
) -> None:
    inputs = inputs_of(prompts)
    fields = fields_of(inputs, drawn)
    queries = ["last", inputs.shape[1]] if named == "first of both" else named
    knockout = AttentionKnockout(**{**fields, "queries": queries, "bidirectional": False})
    try:
        run = model(family).generate(inputs, knockout, max_new_tokens=n_steps, eos_token_id=())
    except EmptySelectionError:
        assume(False)
        return
    heads = range(N_HEADS) if knockout.heads is None else knockout.heads

    def blocked(n_positions: int) -> set[Any]:
        found: set[Any] = set()
        for region in fields["keys"]:
            is_text = inputs["attention_mask"][region.row].bool() & (inputs["input_ids"][region.row] != IMAGE_TOKEN)
            new, last = set(range(inputs.shape[1], n_positions)), {inputs.shape[1] - 1}
            text = set(is_text.nonzero().flatten().tolist())
            rows = {
                "predicting": new | last,
                "generated": new,
                "text": new | text,
                "first of both": last | ({inputs.shape[1]} & new),
            }[named]
            found |= edges("decoder", knockout.layers, heads, region.row, rows, region.positions)
        return found

    with torch.no_grad():
        slow = Plain(tiny_checkpoint(family)).step_logits(inputs, run.tokens, blocked)
    assert float((run.logits - slow).abs().max()) <= 1e-4
