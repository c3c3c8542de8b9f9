"""Variants that decode as one batch give, token by token, what each gives by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import FAMILIES, tiny_inputs, tiny_vlm
from tests.recompute.held_to_generations import assert_equals_generations
from vlm_lens import (
    ActivationPatch,
    AttentionFlow,
    AttentionKnockout,
    AttentionRollout,
    HookedVLM,
    Inputs,
    LogitLens,
    MeanAblation,
    NoiseAblation,
    RegisterTokens,
    Steer,
    Writer,
    ZeroAblation,
)
from vlm_lens.attachments import Here
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import InputError
from vlm_lens.recompute import SharedRun
from vlm_lens.recompute.decoding import bytes_of_one
from vlm_lens.recompute.rows import Marks, rows_of
from vlm_lens.recompute.stepping import Stepping


def writers(vlm: HookedVLM, inputs: Inputs) -> list[tuple[Writer, ...]]:
    """One condition for each way in which a writer meets a prompt and what is generated after it."""
    d_model = vlm.cfg.d_model
    vector = torch.randn(d_model, generator=torch.Generator().manual_seed(0))
    other = vlm.run(tiny_inputs(vlm, seed=1), names_filter="blocks.1.hook_resid_pre")
    return [
        (),
        (AttentionKnockout("predicting", "image"),),
        (AttentionKnockout("generated", "image", layers=[1], heads=[0]),),
        (AttentionKnockout("last", "image", layers=[0]),),
        (AttentionKnockout("patches", "cls", tower="vision"), AttentionKnockout("generated", "question", layers=[0])),
        (MeanAblation("image", vector),),
        (ZeroAblation("image", "blocks.0.hook_resid_pre"), Steer(3 * vector, "blocks.1.hook_resid_mid", "generated")),
        (Steer(vector, "blocks.*.hook_resid_post", "predicting"),),
        (ActivationPatch(other, "blocks.1.hook_resid_pre", "image"),),
        (NoiseAblation("question", "blocks.1.attn.hook_k"), NoiseAblation("image", "blocks.1.attn.hook_v")),
        (ZeroAblation("generated", "blocks.1.attn.hook_pattern", heads=[1]),),
        (NoiseAblation("generated", "ln_final.hook_normalized"),),
    ]


@pytest.mark.parametrize(("family", "is_padded"), [(FAMILIES[0], False), *((family, True) for family in FAMILIES)])
def test_a_batch_of_every_family_is_continued_row_by_row_as_by_itself(family: str, is_padded: bool) -> None:
    vlm = tiny_vlm(family)
    inputs = tiny_inputs(vlm, is_padded)
    assert_equals_generations(vlm, inputs, writers(vlm, inputs), eos_token_id=())


def test_the_bundled_model_is_continued_as_by_itself() -> None:
    vlm, (scene, *_) = HookedVLM.demo(), example_scenes()
    inputs = vlm.prepare(scene.scene.image, scene.turn.question)
    cat = inputs.layout.region(scene.subject.mask)
    lens, flow = LogitLens(positions="predicting"), AttentionFlow()
    conditions = [
        (lens,),
        (AttentionKnockout("predicting", cat, layers=range(2, 5)), lens),
        (AttentionKnockout("predicting", "image"), flow),
        (MeanAblation("image", torch.zeros(vlm.cfg.d_model)),),
        (MeanAblation(cat, torch.zeros(vlm.cfg.d_model)), flow),
    ]
    runs = assert_equals_generations(vlm, inputs, conditions, n_new=8)
    assert len({run.text for run in runs}) > 1


def test_readers_find_what_they_find_in_a_generation_by_itself() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    lens, flow, rollout = LogitLens(positions="predicting"), AttentionFlow(), AttentionRollout("last")
    registers = RegisterTokens(hook="blocks.1.hook_resid_pre")
    of_prompt = LogitLens(positions="image"), AttentionFlow("last")
    steer = Steer(torch.ones(24), "blocks.0.hook_resid_post", "generated")
    conditions: list[Any] = [
        (lens, flow, rollout),
        (AttentionKnockout("predicting", "image", layers=[0]), flow, lens),
        (steer, lens, AttentionKnockout("generated", "question", layers=[1]), flow, rollout),
        (ZeroAblation("image"), rollout, registers),
        (*of_prompt, MeanAblation("image", torch.zeros(24))),
    ]
    assert_equals_generations(vlm, inputs, conditions, eos_token_id=())


def test_variants_and_rows_that_end_at_different_steps_leave_the_others_alone() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    conditions = [(*one, AttentionFlow()) for one in writers(vlm, inputs)]
    runs = SharedRun(vlm, inputs, conditions, n_expected=8).generate(eos_token_id=())
    steps = [run.tokens[row, step] for step, run in enumerate(runs[:8]) for row in (0, 1)]
    ends = sorted({int(token) for token in steps[4:]})
    ended = assert_equals_generations(vlm, inputs, conditions, n_new=8, eos_token_id=ends)
    assert len({run.tokens.shape[1] for run in ended}) > 2


@pytest.mark.parametrize("options", [{"seed": 3}, {"seed": 4, "temperature": 2.0, "top_k": 50, "top_p": 0.9}])
def test_each_variant_draws_as_it_does_by_itself(options: dict[str, Any]) -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    runs = assert_equals_generations(vlm, inputs, writers(vlm, inputs), eos_token_id=(), do_sample=True, **options)
    assert not torch.equal(runs[0].tokens, vlm.generate(inputs, max_new_tokens=6, eos_token_id=()).tokens)


@pytest.mark.parametrize("n_together", [0, 1, 5])
def test_a_bound_on_memory_changes_nothing_but_the_batches(n_together: int) -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    of_one = bytes_of_one(SharedRun(vlm, inputs, [()], n_expected=6).planned)
    keys = vlm.run(inputs, names_filter="blocks.0.attn.hook_k").cache["blocks.0.attn.hook_k"]
    assert of_one == 2 * vlm.cfg.n_layers * (keys.nbytes // keys.shape[1]) * (keys.shape[1] + 6)
    assert_equals_generations(vlm, inputs, writers(vlm, inputs), max_bytes=n_together * of_one, eos_token_id=())


def test_what_the_last_row_never_reads_is_kept_for_the_rows_to_come() -> None:
    """The last prompt row is cut off from what was written, which reaches the second token all the same."""
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    hidden = AttentionKnockout("last", "image", layers=[1])
    written = ZeroAblation("image", "blocks.1.attn.hook_v")
    plain, changed = assert_equals_generations(vlm, inputs, [(hidden,), (hidden, written)], eos_token_id=())
    torch.testing.assert_close(plain.logits[:, 0], changed.logits[:, 0])
    assert float((plain.logits[:, 1] - changed.logits[:, 1]).abs().max()) > 1e-2


def test_rows_that_differ_are_computed_in_every_layer_where_their_keys_are_kept() -> None:
    start = np.array([False, True, False, False, False])
    last = np.arange(5) == 4

    def attended(layer: int, rows: Any) -> Any:
        return rows  # each attends to itself alone

    needed, kept = (rows_of(3, True, Marks(start), Marks(np.zeros(5, bool)), last, attended, keeps_keys=keeps)
                     for keeps in (False, True))  # fmt: skip
    assert [list(one) for one in needed.entered if one is not None] == [[4]] * 3
    assert [list(one) for one in kept.entered if one is not None] == [[1, 2, 3, 4]] * 3
    assert list(kept.asking[-1]) == [4]


def test_nobody_stands_at_a_step_whose_writers_act_on_the_prompt_alone() -> None:
    vlm = tiny_vlm()
    planned = SharedRun(
        vlm,
        tiny_inputs(vlm),
        [(MeanAblation("image", torch.zeros(24)),), (AttentionKnockout("last", "image"),)],
        n_expected=4,
    ).planned
    assert not Stepping(vlm, planned.ground, planned.n, planned.in_parts).is_anybody


@dataclass(frozen=True, eq=False)
class Doubles(Writer):
    """Doubles every position in place."""

    hook: Any = "blocks.1.hook_mlp_out"
    says_so: bool = True

    def write(self, activation: Tensor, here: Here) -> None:
        activation.mul_(2)

    def touched(self, ground: Any) -> Mapping[str, Tensor] | None:
        everything = torch.ones(ground.planned.layout.role_ids.shape, dtype=torch.bool)
        return dict.fromkeys(self.hook_names(ground.model), everything) if self.says_so else None


@pytest.mark.parametrize("says_so", [True, False])
def test_a_writer_that_edits_in_place_edits_its_own_variant_alone(says_so: bool) -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    lens = LogitLens(positions="predicting")
    conditions: list[Any] = [(lens,), (Doubles(says_so=says_so), lens), (Doubles(), Doubles()), (lens,)]
    assert_equals_generations(vlm, inputs, conditions, eos_token_id=())


def test_a_continuation_can_be_proved() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    knockout = AttentionKnockout("predicting", "image", layers=[1])
    steer = Steer(torch.ones(24), "blocks.0.hook_resid_post", "generated")
    for run in SharedRun(vlm, inputs, [(), (knockout,), (steer, knockout)], n_expected=5).generate(eos_token_id=()):
        run.verify()


def test_a_single_token_needs_no_keys_and_values() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    conditions = [
        (),
        (AttentionKnockout("predicting", "image"),),
        (MeanAblation("image", torch.ones(24)), AttentionFlow()),
    ]
    assert_equals_generations(vlm, inputs, conditions, n_new=1)


def test_bad_requests_are_refused_before_anything_runs() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    with pytest.raises(InputError, match="max_new_tokens: expected at least 1"):
        SharedRun(vlm, inputs, [()]).generate()
    with pytest.raises(InputError, match="Nothing follows what is wanted: expected wanted='last'"):
        SharedRun(vlm, inputs, [()], "image", n_expected=2).generate()
    with pytest.raises(InputError, match="Generation exceeds the context"):
        SharedRun(vlm, inputs, [()], n_expected=10_000).generate()


def test_what_a_stopped_run_has_left_is_not_gone_on_from_where_somebody_else_stands_by_now() -> None:
    vlm = tiny_vlm()
    inputs, condition = tiny_inputs(vlm), (ZeroAblation("image"),)
    shared = SharedRun(vlm, inputs, [condition], n_expected=4)
    shared.run()
    assert shared.planned.variants[0].logits is not None
    with vlm.hooks(fwd_hooks=[("blocks.1.hook_resid_post", lambda value, hook: 2 * value)]):
        (run,) = shared.generate(eos_token_id=())
        alone = vlm.generate(inputs, *condition, max_new_tokens=4, eos_token_id=())
    assert torch.equal(run.logits, alone.logits) and torch.equal(run.tokens, alone.tokens)
