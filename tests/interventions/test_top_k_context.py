"""The tokens that are chosen see only the image tokens that a ranking puts first, layer by layer."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.interventions.plain_transformers import Plain, edges
from tests.model.tiny_vlms import FAMILIES, tiny_checkpoint, tiny_inputs, tiny_vlm
from vlm_lens import AttentionFlow, AttentionKnockout, HookedVLM, Inputs, Reader, TopKContext
from vlm_lens.attachments import Here
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import EmptySelectionError, HookError, InputError

N_LAYERS, N_HEADS = 2, 4


def image_positions(inputs: Inputs) -> list[list[int]]:
    """Where each row's image tokens stand."""
    return [list(inputs.layout.positions("image", row)) for row in range(inputs.n_rows)]


def random_ranking(inputs: Inputs, n_layers: int = N_LAYERS, seed: int = 5) -> Tensor:
    shape = (inputs.n_rows, n_layers, len(image_positions(inputs)[0]))
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def naive_edges(inputs: Inputs, ranking: Tensor, n: int, queries: list[list[int]], layers: range) -> set[Any]:
    """What is blocked, by a plain loop: from each query to every image token that is not among the n first."""
    blocked: set[Any] = set()
    for row, positions in enumerate(image_positions(inputs)):
        for layer in layers:
            values = ranking[row, layer].tolist()
            best = sorted(range(len(values)), key=lambda place: (-values[place], place))[:n]
            hidden = [position for place, position in enumerate(positions) if place not in best]
            blocked |= edges("decoder", [layer], range(N_HEADS), row, queries[row], hidden)
    return blocked


def largest(values: Tensor) -> float:
    return float(values.abs().max())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("is_padded", [False, True])
@torch.no_grad()
def test_a_run_equals_plain_transformers_with_the_same_edges_blocked(family: str, is_padded: bool) -> None:
    vlm = tiny_vlm(family)
    inputs = tiny_inputs(vlm, is_padded)
    ranking = random_ranking(inputs)
    n = len(image_positions(inputs)[0]) // 4
    queries = [list(inputs.layout.positions("question", row)[-3:]) for row in range(inputs.n_rows)]
    blocked = naive_edges(inputs, ranking, n, queries, range(N_LAYERS))
    expected = Plain(tiny_checkpoint(family)).logits(inputs, blocked)
    context = TopKContext(0.25, ranking, queries=dict(enumerate(queries)))
    got = vlm.run(inputs, context).logits
    is_real = inputs.attention_mask.bool()
    # Rounding alone: sums in another order.
    assert largest((got - expected)[is_real]) <= 1e-5 * largest(expected[is_real])
    if family != "sliding window":  # there the last rows hardly reach the picture
        assert largest((vlm(inputs) - expected)[is_real]) > 1e-3 * largest(expected[is_real])


@pytest.mark.parametrize("layers", [range(N_LAYERS), range(1, 2)])
@torch.no_grad()
def test_a_cached_generation_equals_the_uncached_loop_of_plain_transformers(layers: range) -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    ranking, n_steps = random_ranking(inputs), 4
    context = TopKContext(0.25, ranking, layers=layers)
    run = vlm.generate(inputs, context, max_new_tokens=n_steps, eos_token_id=())
    n_prompt = inputs.shape[1]
    queries = [list(range(n_prompt - 1, n_prompt + n_steps - 1))] * inputs.n_rows
    blocked = naive_edges(inputs, ranking, ranking.shape[-1] // 4, queries, layers)
    expected = Plain(tiny_checkpoint()).step_logits(inputs, run.tokens, blocked)
    assert largest(run.logits - expected) <= 1e-5 * largest(expected)
    assert largest(vlm.generate(inputs, max_new_tokens=1).logits - expected[:, :1]) > 1e-3 * largest(expected)


def test_a_fraction_of_one_is_the_plain_run_to_the_bit() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    context = TopKContext(1.0, random_ranking(inputs))
    assert torch.equal(vlm.run(inputs, context).logits, vlm.run(inputs).logits)
    clean = vlm.generate(inputs, max_new_tokens=3, eos_token_id=())
    assert torch.equal(vlm.generate(inputs, context, max_new_tokens=3, eos_token_id=()).logits, clean.logits)


@dataclass(frozen=True, eq=False)
class VisibleImageTokens(Reader):
    """For the last query of every pass, which image tokens have weight, and the sum of its row."""

    hook: str = "blocks.*.attn.hook_pattern"

    def read(self, activation: Tensor, here: Here) -> tuple[Tensor, Tensor]:
        last = activation[0, :, -1]
        return last[:, here.keys("image")[0]] > 0, last.sum(dim=-1)


@pytest.fixture(scope="module")
def demo() -> HookedVLM:
    return HookedVLM.demo()


@pytest.fixture(scope="module")
def scene(demo: HookedVLM) -> Inputs:
    one = example_scenes()[0]
    return demo.prepare(one.scene.image, "Describe this image.")


def test_every_generated_token_sees_the_top_tokens_and_no_others(demo: HookedVLM, scene: Inputs) -> None:
    ranking = random_ranking(scene, demo.cfg.n_layers)[0]
    seen = VisibleImageTokens()
    context = TopKContext(0.1, ranking)
    run = demo.generate(scene, context, seen, max_new_tokens=8)
    assert {step for _, step in run[seen]} == set(range(run.tokens.shape[1]))
    n = int(0.1 * ranking.shape[-1])
    for (name, _), (is_seen, row_sums) in run[seen].items():
        best = ranking[int(name.split(".")[1])].topk(n).indices
        assert is_seen[:, best].all() and is_seen.sum(dim=-1).tolist() == [n] * demo.cfg.n_heads
        torch.testing.assert_close(row_sums, torch.ones_like(row_sums), atol=1e-5, rtol=0)
    loop = demo.generate(scene, context, max_new_tokens=8, use_cache=False)
    assert torch.equal(run.tokens, loop.tokens)
    assert largest(run.logits - loop.logits) <= 1e-4


def test_the_papers_form_leaves_the_first_generated_token_alone(demo: HookedVLM, scene: Inputs) -> None:
    ranking = random_ranking(scene, demo.cfg.n_layers)
    clean = demo.generate(scene, max_new_tokens=3).logits
    everywhere = demo.generate(scene, TopKContext(0.05, ranking), max_new_tokens=3).logits
    decoding = demo.generate(scene, TopKContext(0.05, ranking, queries="generated"), max_new_tokens=3).logits
    assert torch.equal(decoding[:, 0], clean[:, 0]) and not torch.equal(decoding[:, 1], clean[:, 1])
    assert not torch.equal(everywhere[:, 0], clean[:, 0])


def test_it_proves_itself_from_the_first_generated_token_on(demo: HookedVLM, scene: Inputs) -> None:
    context = TopKContext(0.1, random_ranking(scene, demo.cfg.n_layers)[0], layers=range(1, 4))
    proof = str(demo.generate(scene, context, max_new_tokens=3).verify())
    n_edges = 3 * 3 * demo.cfg.n_heads * (144 - 14)  # steps, layers, heads, dropped tokens
    assert f"lacks each of its edges and none that was not asked for [{n_edges:,} edges, 3 layers" in proof
    assert "names no edge" in str(demo.run(scene, replace(context, fraction=1.0)).verify())


def hidden(context: TopKContext, inputs: Inputs, layer: int = 0, row: int = 0) -> set[int]:
    """Which image tokens the last position no longer sees."""
    blocked = context.blocked(layer, inputs.layout, range(inputs.shape[1]))
    return {image_positions(inputs)[row].index(key) for key in blocked[row, -1].nonzero().flatten().tolist()}


def test_ties_go_to_the_earlier_position_at_both_ends() -> None:
    inputs = tiny_inputs(tiny_vlm())
    n = len(image_positions(inputs)[0])
    even = torch.ones(N_LAYERS, n)
    for order in ("top", "bottom"):
        assert hidden(TopKContext(0.5, even, order=order), inputs) == set(range(n // 2, n))
    rising = torch.arange(n).float().repeat(N_LAYERS, 1)
    assert hidden(TopKContext(0.5, rising), inputs) == set(range(n // 2))
    assert hidden(TopKContext(0.5, rising, order="bottom"), inputs) == set(range(n // 2, n))


def test_random_controls_keep_as_many_and_follow_their_seed() -> None:
    inputs = tiny_inputs(tiny_vlm())
    top = TopKContext(0.5, random_ranking(inputs))
    drawn = [hidden(replace(top, order="random", seed=seed), inputs) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and len(drawn[0]) == len(drawn[2]) == len(hidden(top, inputs))
    assert hidden(replace(top, order="random"), inputs, layer=1) != drawn[0]


@pytest.mark.parametrize("is_ranked_by_row", [False, True])
def test_chance_draws_for_each_row_anew(is_ranked_by_row: bool) -> None:
    inputs = tiny_inputs(tiny_vlm())
    ranking = random_ranking(inputs) if is_ranked_by_row else random_ranking(inputs)[0]
    context = TopKContext(0.5, ranking, order="random")
    first, second = ([hidden(context, inputs, layer, row) for layer in range(N_LAYERS)] for row in (0, 1))
    assert all(mine != theirs for mine, theirs in zip(first, second, strict=True))
    alone = replace(context, ranking=ranking[:1] if is_ranked_by_row else ranking)
    assert [hidden(alone, inputs.row(0), layer) for layer in range(N_LAYERS)] == first
    assert hidden(context, inputs, row=1) == second[0]  # after another number of rows, too
    top = [hidden(replace(context, order="top"), inputs, row=row) for row in (0, 1)]
    assert (top[0] == top[1]) is not is_ranked_by_row


def test_a_probes_result_is_taken_for_its_image_attention() -> None:
    vlm = tiny_vlm()
    inputs, flow = tiny_inputs(vlm), AttentionFlow("predicting")
    found = vlm.generate(inputs, flow, max_new_tokens=3, eos_token_id=())[flow]
    ranking = found.image_attention
    of_tensor, of_result = TopKContext(0.25, ranking), TopKContext(0.25, found)
    assert len(hidden(of_result, inputs, row=1)) == ranking.shape[-1] * 3 // 4
    assert of_result.fingerprint() == of_tensor.fingerprint()
    assert of_tensor.fingerprint() != replace(of_tensor, ranking=ranking + 1).fingerprint()
    assert repr(of_result) == f"TopKContext(fraction=0.25, ranking=Tensor(2, 2, {ranking.shape[-1]}))"


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(fraction=0.0), InputError, "fraction: expected a share above 0 and up to 1, got 0.0"),
        (dict(fraction=5.0), InputError, "fraction: .* got 5.0. 5% are 0.05"),
        (dict(fraction=float("nan")), InputError, "fraction: .* got nan"),
        (dict(order="best"), InputError, "order: expected one of top, bottom, random, got 'best'"),
        (dict(ranking=torch.ones(16)), InputError, r"Ranking: expected \[layer image_pos\]"),
        (dict(ranking=torch.full((2, 16), torch.nan)), InputError, "Ranking: expected finite values, got 32"),
        (dict(ranking="flow"), InputError, "Ranking is not understood"),
        (dict(ranking=torch.ones(3, 16)), InputError, "Ranking does not fit the inputs: .* for rows with"),
        (dict(ranking=torch.ones(2, 15)), InputError, "Ranking does not fit the inputs"),
        (dict(ranking=torch.ones(3, 2, 16)), InputError, "Ranking does not fit the inputs"),
        (dict(fraction=0.01), EmptySelectionError, "keeps no image token: expected a fraction of at least 1 / 16"),
        (dict(queries="generated"), EmptySelectionError, "queries of"),
        (dict(queries="bos", on_empty="raise"), EmptySelectionError, "queries of"),
        (dict(layers=7), EmptySelectionError, "Layers of the decoder tower"),
        (dict(heads=2), TypeError, "heads"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_model_runs(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    fired = []
    with pytest.raises(error, match=message), vlm.hooks([("vision.hook_embed", lambda x, hook: fired.append(1))]):
        vlm.run(inputs, TopKContext(**{"fraction": 0.25, "ranking": torch.ones(2, 16), **change}))
    assert not fired


def test_text_alone_has_no_image_tokens_to_keep(demo: HookedVLM) -> None:
    context = TopKContext(0.5, torch.ones(demo.cfg.n_layers, 144))
    with pytest.raises(EmptySelectionError, match="expected a prompt with image tokens, got none"):
        demo.run("A red boat", context)
    skipped = demo.run("A red boat", replace(context, on_empty="skip")).logits
    assert torch.equal(skipped, demo.run("A red boat").logits)


@torch.no_grad()
def test_a_row_without_a_picture_is_left_alone(demo: HookedVLM, scene: Inputs) -> None:
    image = example_scenes()[0].scene.image
    inputs = demo.prepare([image, None], ["Describe this image.", "USER: Is a boat red? ASSISTANT:"])
    flow = AttentionFlow("last")
    found = demo.run(inputs, flow)[flow]
    assert found.image_attention[1].isnan().all()
    clean, cut = demo.run(inputs).logits, demo.run(inputs, TopKContext(0.05, found)).logits
    assert largest(cut[1] - clean[1]) <= 1e-5 * largest(clean) < largest(cut[0, -1] - clean[0, -1])
    with pytest.raises(InputError, match=r"Ranking: expected finite values for each row .*, got NaN in \[0\]"):
        demo.run(inputs, TopKContext(0.05, found.image_attention.flip(0)))


def test_it_leaves_no_query_alone_and_adds_up_with_a_knockout() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm, is_padded=False)
    context = TopKContext(0.25, random_ranking(inputs), queries="last")
    with pytest.raises(HookError, match="every query to keep at least one key"):
        vlm.run(inputs, context, AttentionKnockout("last", ["text", "image"]))
    both = vlm.run(inputs, context, AttentionKnockout("last", "bos", on_empty="skip")).logits
    assert torch.equal(both, vlm.run(inputs, context).logits)
    nothing_seen = vlm.run(inputs, context, AttentionKnockout("last", "image")).logits
    assert torch.equal(nothing_seen, vlm.run(inputs, AttentionKnockout("last", "image")).logits)
