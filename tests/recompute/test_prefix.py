"""Several questions on one picture: what they begin with is computed once, and nothing shows it but the clock."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import FAMILIES, tiny_checkpoint, tiny_vlm
from tests.tiny_models import IMAGE, TEXT_TOKENS, Variant, llama, new_llava
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import (
    AttentionFlow,
    AttentionKnockout,
    HookedVLM,
    LogitLens,
    NoiseAblation,
    Steer,
    ZeroAblation,
)
from vlm_lens.inputs import Inputs
from vlm_lens.recompute import SharedRun, shared_runs
from vlm_lens.recompute.prefix import Prefix

N_BEFORE = 14
QUESTIONS = (1, 3, 2)


def questions(
    vlm: HookedVLM, checkpoint: Any = None, lengths: Sequence[int] = QUESTIONS, n_alike: int = 2
) -> list[Inputs]:
    """Prompts of one picture that begin with the same text; the questions have words in common, and differ then."""
    mapping = new_mapping(checkpoint or tiny_checkpoint(), [(N_BEFORE, IMAGE, n_alike)])
    asked = []
    for place, length in enumerate(lengths):
        own = torch.arange(TEXT_TOKENS.start, TEXT_TOKENS.start + length)[None] + 10 * place
        tokens = torch.cat((mapping["input_ids"], own), dim=1)
        asked.append(vlm.as_inputs({"input_ids": tokens, "pixel_values": mapping["pixel_values"].clone()}))
    return asked


def n_common(one: Inputs) -> int:
    """The positions before the questions differ."""
    return one.shape[1] - QUESTIONS[0]


KINDS = {
    "nothing": lambda: (),
    "knockout of the last row": lambda: (AttentionKnockout("last", "image"),),
    "knockout among image rows": lambda: (AttentionKnockout("image", [12, 13], layers=[0]),),
    "ablation of image rows": lambda: (NoiseAblation("image", "blocks.*.hook_resid_mid", layers=[0]),),
    "ablation of features": lambda: (ZeroAblation("image"),),
    "ablation before the first layer": lambda: (ZeroAblation("image", "hook_embed"),),
    "knockout in the tower": lambda: (AttentionKnockout("patches", "cls", tower="vision"),),
    "keys of the prefix alone": lambda: (NoiseAblation([3, 4], "blocks.*.attn.hook_k", layers=[1]),),
    "written pattern": lambda: (ZeroAblation("last", "blocks.*.attn.hook_pattern", layers=[0], heads=[1]),),
    "last norm": lambda: (NoiseAblation("last", "ln_final.hook_normalized"),),
    "two things": lambda: (
        ZeroAblation([2], "blocks.*.hook_resid_post", layers=[0]),
        AttentionKnockout("last", [30, 31]),
    ),
}


def assert_equal_to_the_loop(
    vlm: HookedVLM, inputs: Inputs, conditions: Any, outcomes: Any, wanted: Any = "last"
) -> None:
    rows = sorted(inputs.layout.positions(wanted))
    for objects, outcome in zip(conditions, outcomes, strict=True):
        alone = vlm.run(inputs, *objects).logits[:, rows]
        assert outcome.logits.shape == alone.shape
        assert (outcome.logits - alone).abs().max() <= 1e-5 * alone.abs().max()


@contextmanager
def rows_counted(linear: torch.nn.Module) -> Iterator[list[int]]:
    """How many rows each pass through a linear has."""
    found: list[int] = []
    forward = linear.forward

    def counted(given: torch.Tensor) -> Any:
        found.append(given.shape[:-1].numel())
        return forward(given)

    linear.forward = counted  # a hook of torch's would have everything run in full
    yield found
    del linear.forward


def kept_of(vlm: HookedVLM, inputs: Inputs, conditions: Any, keep: int, wanted: Any = "last") -> Prefix:
    run = SharedRun(vlm, inputs, conditions, wanted)
    run.run(keep=keep)
    assert run.kept is not None
    return run.kept


@pytest.mark.parametrize("family", FAMILIES)
def test_questions_in_turn_give_what_each_gives_by_itself(family: str) -> None:
    vlm = tiny_vlm(family)
    asked, conditions = questions(vlm), [make() for make in KINDS.values()]
    for inputs, outcomes in zip(asked, shared_runs(vlm, asked, conditions), strict=True):
        assert_equal_to_the_loop(vlm, inputs, conditions, outcomes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prefix_serves_each_kind_of_condition(kind: str) -> None:
    vlm = tiny_vlm()
    first, second, _ = questions(vlm)
    conditions = [KINDS[kind]()]
    run = SharedRun(vlm, second, conditions, prefix=kept_of(vlm, first, conditions, n_common(first)))
    assert run.prefix is not None and run.prefix.n_positions == n_common(first)
    assert_equal_to_the_loop(vlm, second, conditions, run.run())


def test_rows_of_a_question_may_begin_to_differ_in_different_layers() -> None:
    vlm = tiny_vlm()
    first, second, _ = questions(vlm)
    n = second.shape[1]
    later = NoiseAblation([n - 2], "blocks.*.attn.hook_k", layers=[1])
    conditions = [(NoiseAblation([n - 3], "blocks.*.hook_resid_post", layers=[0]), later)]
    run = SharedRun(vlm, second, conditions, prefix=kept_of(vlm, first, [()], n_common(first)))
    assert run.prefix is not None and not run.prefix.streams
    assert_equal_to_the_loop(vlm, second, conditions, run.run())


def test_a_second_question_runs_its_own_rows_and_no_tower() -> None:
    vlm = tiny_vlm()
    first, second, _ = questions(vlm)
    conditions = [(), (AttentionKnockout("last", "image", layers=[1]),)]
    kept = kept_of(vlm, first, conditions, n_common(first))
    with rows_counted(vlm.blocks[0].mlp.mlp_in) as in_decoder, rows_counted(vlm.vision.blocks[0].attn.q_proj) as seen:
        SharedRun(vlm, second, conditions, prefix=kept).run()
    assert in_decoder == [second.shape[1] - n_common(first)]
    assert seen == []


def test_a_prefix_without_streams_ends_where_the_variants_begin() -> None:
    vlm = tiny_vlm()
    first, second, _ = questions(vlm)
    kept = kept_of(vlm, first, [KINDS["knockout of the last row"]()], n_common(first))
    assert not kept.streams
    conditions = [KINDS["ablation of image rows"]()]
    run = SharedRun(vlm, second, conditions, prefix=kept)
    assert run.prefix is None  # the image begins too early to share what is before it
    assert run.vectors is not None
    assert_equal_to_the_loop(vlm, second, conditions, run.run())


def test_another_picture_shares_no_position_from_the_picture_on() -> None:
    vlm = tiny_vlm()
    first, second, _ = questions(vlm)
    pixels = second.pixel_values.clone()
    pixels[0, 0, 0, 0] += 1e-3
    other = replace(second, pixel_values=pixels)
    kept = kept_of(vlm, first, [()], n_common(first))
    run = SharedRun(vlm, other, [()], prefix=kept)
    assert run.prefix is None and run.vectors is None
    assert kept.beginning.n_alike(SharedRun(vlm, other, [()]).beginning) == N_BEFORE
    assert_equal_to_the_loop(vlm, other, [()], run.run())


def test_rows_that_are_wanted_are_run() -> None:
    vlm = tiny_vlm()
    first, second, _ = questions(vlm)
    kept = kept_of(vlm, first, [()], n_common(first))
    conditions = [(), KINDS["knockout of the last row"]()]
    for wanted in ("all", [18], "question"):
        run = SharedRun(vlm, second, conditions, wanted, prefix=kept)
        n_shared = 0 if run.prefix is None else run.prefix.n_positions
        assert n_shared <= min(second.layout.positions(wanted))
        assert_equal_to_the_loop(vlm, second, conditions, run.run(), wanted)


def test_batches_and_padding_share_pictures_alone() -> None:
    vlm = tiny_vlm()
    batch = vlm.as_inputs(new_mapping(tiny_checkpoint(), [(N_BEFORE, IMAGE, 6), (1, IMAGE, 4)]))
    conditions = [(), (AttentionKnockout("last", "image"),)]
    kept = kept_of(vlm, batch, conditions, batch.shape[1])
    run = SharedRun(vlm, batch, conditions, prefix=kept)
    assert run.prefix is None and run.vectors is not None
    assert_equal_to_the_loop(vlm, batch, conditions, run.run())


def test_rows_of_a_batch_are_questions_in_turn() -> None:
    vlm = tiny_vlm()
    one, other, _ = questions(vlm, lengths=(2, 2, 2))
    batch = vlm.as_inputs(
        {
            "input_ids": torch.cat((one.input_ids, other.input_ids)),
            "pixel_values": torch.cat((one.pixel_values, other.pixel_values)),
        }
    )
    conditions = [(AttentionKnockout("last", "image"),)]
    (together,) = SharedRun(vlm, batch, conditions).run()
    apart = [outcomes[0].logits for outcomes in shared_runs(vlm, [batch.row(0), batch.row(1)], conditions)]
    torch.testing.assert_close(
        torch.cat(apart), together.logits, rtol=0, atol=1e-5 * float(together.logits.abs().max())
    )


@pytest.mark.parametrize("positions", ["last", "image", "all"])
def test_readers_are_shown_the_prefix_as_well(positions: str) -> None:
    vlm = tiny_vlm()
    asked, lens = questions(vlm), LogitLens(positions=positions)
    conditions = [
        (lens,),
        (AttentionKnockout("last", "image", layers=[0]), lens),
        (*KINDS["ablation of image rows"](), lens),
    ]
    for inputs, outcomes in zip(asked, shared_runs(vlm, asked, conditions), strict=True):
        for objects, outcome in zip(conditions, outcomes, strict=True):
            alone = vlm.run(inputs, *objects)[lens].to_dataframe().select_dtypes("number")
            shared = outcome.session[lens].to_dataframe().select_dtypes("number")
            assert list(shared) == list(alone) and len(shared) == len(alone)
            torch.testing.assert_close(numbers(shared), numbers(alone), rtol=1e-3, atol=1e-4, equal_nan=True)


def numbers(frame: Any) -> Tensor:
    return torch.tensor(frame.to_numpy(dtype=float, na_value=float("nan")))


def test_readers_of_what_was_not_kept_have_everything_run() -> None:
    vlm = tiny_vlm()
    first, second, _ = questions(vlm)
    kept = kept_of(vlm, first, [(AttentionFlow(),)], n_common(first))
    for reader in (AttentionFlow(queries="all"), LogitLens()):
        run = SharedRun(vlm, second, [(reader,)], prefix=kept)
        assert run.prefix is None and run.vectors is not None
        (outcome,) = run.run()
        alone, shared = vlm.run(second, reader)[reader].to_dataframe(), outcome.session[reader].to_dataframe()
        values = [numbers(one.select_dtypes("number")) for one in (shared, alone)]
        torch.testing.assert_close(*values, rtol=1e-3, atol=1e-4, equal_nan=True)


def test_attention_of_later_rows_is_read_after_a_prefix() -> None:
    vlm = tiny_vlm()
    asked, flow = questions(vlm), AttentionFlow(queries="last")
    objects = [(), KINDS["knockout of the last row"](), KINDS["ablation of image rows"]()]
    conditions = [(*one, flow) for one in objects]
    run = SharedRun(vlm, asked[1], conditions, prefix=kept_of(vlm, asked[0], conditions, n_common(asked[0])))
    assert run.prefix is not None and run.prefix.n_positions == n_common(asked[0])
    for objects_of_one, outcome in zip(conditions, run.run(), strict=True):
        alone = vlm.run(asked[1], *objects_of_one)[flow].to_dataframe()
        shared = outcome.session[flow].to_dataframe()
        assert list(shared.columns) == list(alone.columns) and len(shared) == len(alone)
        values = [numbers(one.select_dtypes("number")) for one in (shared, alone)]
        torch.testing.assert_close(*values, rtol=1e-3, atol=1e-5, equal_nan=True)


def test_conditions_are_made_for_each_inputs() -> None:
    vlm = tiny_vlm()
    asked, seen = questions(vlm), []

    def conditions(inputs: Inputs) -> list[tuple[Any, ...]]:
        seen.append(inputs)
        return [(Steer(torch.ones(24), "blocks.*.hook_resid_post", [inputs.shape[1] - 2], layers=[0]),)]

    for inputs, outcomes in zip(asked, shared_runs(vlm, asked, conditions), strict=True):
        assert_equal_to_the_loop(vlm, inputs, conditions(inputs), outcomes)
    assert all(inputs in seen for inputs in asked)


def test_angles_that_depend_on_the_length_are_not_shared() -> None:
    scaling = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}}
    checkpoint = new_llava(Variant(lambda: llama(max_position_embeddings=20, **scaling)))
    vlm = HookedVLM.from_hf(checkpoint)
    first, second, _ = questions(vlm, checkpoint)
    run = SharedRun(vlm, second, [()], prefix=kept_of(vlm, first, [()], n_common(first)))
    assert run.prefix is None
    assert_equal_to_the_loop(vlm, second, [()], run.run())


def test_what_an_intervention_did_to_the_first_question_is_not_handed_on() -> None:
    vlm = tiny_vlm()
    first, second, _ = questions(vlm)
    kept = kept_of(vlm, first, [(ZeroAblation("image"),), (ZeroAblation([1], "hook_embed"),)], n_common(first))
    assert_equal_to_the_loop(vlm, second, [()], SharedRun(vlm, second, [()], prefix=kept).run())


def test_a_prefix_serves_the_same_inputs_again() -> None:
    vlm = tiny_vlm()
    inputs, _, _ = questions(vlm)
    conditions = [(NoiseAblation("last", "blocks.*.hook_resid_post", layers=[0]),)]
    run = SharedRun(vlm, inputs, conditions, prefix=kept_of(vlm, inputs, [()], inputs.shape[1]))
    assert run.prefix is not None and run.prefix.n_positions == inputs.shape[1] - 1
    assert_equal_to_the_loop(vlm, inputs, conditions, run.run())
