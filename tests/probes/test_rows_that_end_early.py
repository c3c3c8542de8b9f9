"""What a probe says of a generated row is what it says of that row generated alone, however early it ends."""

from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from tests.tiny_models import D_VOCAB, filled, llama
from vlm_lens import (
    AttentionFlow,
    AttentionRollout,
    DirectLogitAttribution,
    HookedTransformer,
    HookedVLM,
    LogitLens,
    TopKContext,
)
from vlm_lens.errors import EmptySelectionError
from vlm_lens.inputs import Inputs

CLOSE = dict(atol=1e-4, rtol=0)  # fp32, another padding and so another order of sums
N = 6


@cache
def model_and_inputs() -> tuple[HookedVLM, Inputs]:
    vlm = tiny_vlm()
    return vlm, tiny_inputs(vlm)


def end_of_row_0(after: int) -> int:
    """A token that row 0 says after so many others, and row 1 never."""
    vlm, inputs = model_and_inputs()
    free = vlm.generate(inputs, max_new_tokens=N, eos_token_id=()).tokens
    end = int(free[0, after])
    assert end not in free[1].tolist() and end not in free[0, :after].tolist()
    return end


def in_batch_and_alone(after: int, probe: Any, **options: Any) -> tuple[Any, list[Any]]:
    vlm, inputs = model_and_inputs()
    generate = partial(vlm.generate, max_new_tokens=N, eos_token_id=end_of_row_0(after), **options)
    return generate(inputs, probe)[probe], [generate(inputs.row(row), probe)[probe] for row in (0, 1)]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("after", [0, 1])
def test_attention_in_a_batch_is_that_of_each_row_alone(after: int, use_cache: bool) -> None:
    flow = AttentionFlow(groups={"image": "image"}, keeps="heads")
    batch, alone = in_batch_and_alone(after, flow, use_cache=use_cache)
    for row, single in enumerate(alone):
        of_row = batch.row(row)
        assert of_row.steps.tolist() == single.steps.tolist() and of_row.tokens == single.tokens
        torch.testing.assert_close(of_row.shares, single.shares, **CLOSE)
        # So is the ranking by which a context is cut.
        torch.testing.assert_close(batch.image_attention[row], single.image_attention[0], **CLOSE)
    assert len(alone[0].rows) == after + 1
    kept = TopKContext(0.5, batch).ranking.topk(3).indices
    assert torch.equal(kept[0], TopKContext(0.5, alone[0]).ranking.topk(3).indices[0])


@pytest.mark.parametrize("positions", ["predicting", "all"])
def test_words_in_a_batch_are_those_of_each_row_alone(positions: str) -> None:
    batch, alone = in_batch_and_alone(1, LogitLens(targets=[7], positions=positions))
    for row, single in enumerate(alone):
        of_row = batch.row(row)
        assert len(of_row.places) == len(single.places)
        np.testing.assert_allclose(of_row.target_probabilities, single.target_probabilities, **CLOSE)


@pytest.mark.parametrize("by", ["component", "position"])
def test_additions_in_a_batch_are_those_of_each_row_alone(by: str) -> None:
    batch, alone = in_batch_and_alone(1, DirectLogitAttribution(40, positions="predicting", by=by))
    for row, single in enumerate(alone):
        of_row = batch.row(row)
        assert [one.step for one in of_row.queries] == [one.step for one in single.queries]
        np.testing.assert_allclose(of_row.values, single.values, **CLOSE)
        assert by == "component" or of_row.sources.shape[0] == single.sources.shape[0]


def test_rollout_in_a_batch_is_that_of_each_row_alone() -> None:
    batch, alone = in_batch_and_alone(1, AttentionRollout(), use_cache=False)
    for row, single in enumerate(alone):
        assert batch.row(row).tokens == single.tokens
        torch.testing.assert_close(batch.image_attention[row], single.image_attention[0], **CLOSE)


def test_plain_tokens_end_as_prompts_with_pictures_do() -> None:
    alone = HookedTransformer.from_hf(filled(LlamaForCausalLM(llama())))
    tokens = torch.randint(260, D_VOCAB, (2, 6), generator=torch.Generator().manual_seed(3))
    free = alone.generate(tokens, max_new_tokens=5, eos_token_id=()).tokens
    end = int(free[0, 1])
    assert end not in free[1].tolist() and end != int(free[0, 0])
    flow, lens = AttentionFlow(), LogitLens(positions="predicting", layers=-1, top_k=1)
    run = alone.generate(tokens, flow, lens, max_new_tokens=5, eos_token_id=end)
    assert run[flow].rows.tolist() == [0] * 2 + [1] * 5
    assert run[lens].top_ids[0, :, 0].tolist() == [*free[0, :2].tolist(), *free[1].tolist()]
    assert run.layout is None


READERS = [
    AttentionFlow,
    partial(LogitLens, 5, None, "all"),
    partial(DirectLogitAttribution, 40, None),
    AttentionRollout,
]


@pytest.mark.parametrize("reader", READERS)
def test_a_generation_that_ends_at_once_leaves_nothing_to_read(reader: Any) -> None:
    vlm, inputs = model_and_inputs()
    at_once = inputs.row(0)
    options = dict(max_new_tokens=4, eos_token_id=end_of_row_0(0), use_cache=reader is not AttentionRollout)
    lenient, strict = reader("generated", on_empty="skip"), reader("generated")
    assert vlm.generate(at_once, lenient, **options)[lenient] is None
    with pytest.raises(EmptySelectionError, match="read nothing: expected positions that were run"):
        vlm.generate(at_once, strict, **options)[strict]
    # A row that ends at once beside one that goes on leaves nothing either.
    of_row_0 = reader({0: "generated"}, on_empty="skip")
    assert vlm.generate(inputs, of_row_0, **options)[of_row_0] is None


def test_a_cached_generation_is_not_rolled_out() -> None:
    vlm, inputs = model_and_inputs()
    lenient = AttentionRollout("generated", on_empty="skip")
    assert vlm.generate(inputs, lenient, max_new_tokens=3, eos_token_id=())[lenient] is None
    with pytest.raises(EmptySelectionError, match="queries of the prompt.*use_cache=False"):
        vlm.generate(inputs, AttentionRollout("generated"), max_new_tokens=3, eos_token_id=())
    whole = AttentionRollout("generated")
    assert vlm.generate(inputs, whole, max_new_tokens=3, eos_token_id=(), use_cache=False)[whole].steps.tolist() == [
        *(1, 2),
        *(1, 2),
    ]
