"""A shared run gives each condition what a run of its own gives."""

from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook
from transformers import MistralForCausalLM

from tests.interventions.plain_transformers import Plain, edges
from tests.recompute.held_to_runs import assert_equals_runs, assert_near
from tests.recompute.writers_and_readers import (
    Blinded,
    Halved,
    HalvedWithReach,
    Kept,
    KeptRows,
    Opened,
    other_inputs,
    writer_at,
)
from tests.tiny_models import IMAGE, filled, mistral, tiny_llava
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import (
    ActivationPatch,
    AttentionKnockout,
    HookedTransformer,
    HookedVLM,
    IntegratedGradients,
    NoiseAblation,
    Steer,
    ZeroAblation,
)
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import HookError
from vlm_lens.inputs import Inputs
from vlm_lens.layout import Except
from vlm_lens.recompute import SharedRun

ONE, PADDED, SEVERAL = [(3, IMAGE, 5)], [(2, IMAGE, 6), (1, IMAGE, 4)], [(1, IMAGE, 2, IMAGE, 3), (2, IMAGE, 1)]
FAMILIES = {
    "llama": PADDED,
    "mistral, window shorter than the prompt": PADDED,
    "class token kept": SEVERAL,
    "siglip, qwen2": SEVERAL,
    "features of several layers": PADDED,
    "rotary, dynamic": ONE,
}
STAGES = {
    "vision": lambda name: name.startswith("vision."),
    "projector": lambda name: name.startswith("projector."),
    "decoder": lambda name: name.startswith(("hook_embed", "blocks.")),
    "final": lambda name: name.startswith(("ln_final.", "unembed.")),
}

CASES = [case for case in product(FAMILIES, STAGES) if case != ("features of several layers", "vision")]  # run in full


@cache
def vlm_of(family: str) -> HookedVLM:
    return HookedVLM.from_hf(tiny_llava(family))


@cache
def inputs_of(family: str, kind: str = "") -> Inputs:
    rows = {"one": ONE, "padded": PADDED, "several": SEVERAL}.get(kind, FAMILIES[family])
    return vlm_of(family).as_inputs(new_mapping(tiny_llava(family), rows))


def places_at(name: str, inputs: Inputs) -> list[Any]:
    """Positions of a hook: few of them, and many."""
    if name.startswith(("vision.", "projector.")):
        return [[1, 3], "image"]
    return ["last", [inputs.shape[1] - 4, inputs.shape[1] - 2], "image"]


def hooks_of(vlm: HookedVLM, stage: str, number: int) -> list[str]:
    """A third of a stage's hooks, another one for each number: all of them stand in some family."""
    names = [name for name in vlm.hook_dict if STAGES[stage](name) and not name.endswith("hook_mask")]
    return names[number % 3 :: 3]


@pytest.mark.filterwarnings("ignore:.*can reach nothing")
@pytest.mark.parametrize(("family", "stage"), CASES)
def test_every_hook_written_and_read_is_as_in_a_run_of_its_own(family: str, stage: str) -> None:
    vlm, inputs = vlm_of(family), inputs_of(family)
    names = hooks_of(vlm, stage, list(FAMILIES).index(family))
    source = vlm.run(other_inputs(vlm, inputs), names_filter=lambda name: name in names)
    conditions: list[Any] = []
    for number, name in enumerate(names):
        places = places_at(name, inputs)
        writer = writer_at(vlm, name, places[number % len(places)], source)
        conditions += [(Kept(name), writer, Kept(name))] if number % 4 == 0 else [(writer,)]
    assert_equals_runs(vlm, inputs, conditions, "last")
    assert_equals_runs(vlm, inputs, conditions[::5], "all", max_rows=7)


@pytest.mark.parametrize("family", ["llama", "rotary, dynamic", "mistral, window shorter than the prompt"])
def test_rows_in_the_middle_are_those_of_the_whole_run(family: str) -> None:
    vlm, inputs = vlm_of(family), inputs_of(family)
    shared = assert_equals_runs(
        vlm, inputs, [(), (NoiseAblation([1], "hook_embed"),), (ZeroAblation("image"),)], "image"
    )
    is_cut = shared.planned.n_shared_rows < shared.planned.n
    assert is_cut == (family != "rotary, dynamic"), "angles that look at the length need all of it"


def knockouts(inputs: Inputs) -> list[Any]:
    some = inputs.layout.patches(rows=0)
    return [
        (AttentionKnockout("last", "image", layers=[1]),),
        (AttentionKnockout("last", some, layers=[0, 2], heads=[0, 3]),),
        (AttentionKnockout("question", some, bidirectional=True),),
        (AttentionKnockout("last", some), AttentionKnockout("text", "image", heads=[1])),
        (AttentionKnockout(some, Except("image", but=some), tower="vision", layers=range(2)),),
        (AttentionKnockout("patches", some, tower="vision", layers=[1], heads=[0]),),
        (AttentionKnockout("last", some), ZeroAblation("image", "blocks.0.hook_resid_post")),
    ]


@pytest.mark.parametrize("wanted", ["last", "image", None])
@pytest.mark.parametrize("kind", ["one", "padded"])
def test_knockouts_with_readers_are_as_in_runs_of_their_own(kind: str, wanted: Any) -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama", kind)
    readers: list[Any] = [
        Kept("blocks.2.attn.hook_pattern"), Kept("blocks.*.attn.hook_mask"),
        KeptRows("blocks.*.hook_resid_post", "last"), Kept("vision.blocks.1.hook_resid_post"),
        Kept("blocks.1.attn.hook_k"), Kept("ln_final.hook_normalized"), KeptRows("blocks.1.hook_resid_pre", "image"),
    ]  # fmt: skip
    conditions = [(*knockout, reader) for knockout, reader in zip(knockouts(inputs), readers, strict=True)]
    assert_equals_runs(vlm, inputs, [*conditions, *((one,) for one in readers)], wanted, max_rows=40)


def test_objects_on_one_hook_act_in_their_order() -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    hook = "blocks.1.hook_resid_mid"
    steer, zero = Steer(torch.ones(vlm.cfg.d_model), hook, "image"), ZeroAblation(slice(-9, None), hook)
    halved, first, second = HalvedWithReach(hook, "text"), Kept(hook), Kept(hook)
    assert_equals_runs(
        vlm,
        inputs,
        [(steer, zero), (zero, steer), (steer, first, zero, halved, second, steer), (halved, halved)],
        "all",
    )


def test_a_writer_without_reach_is_run_in_full_and_one_that_says_it_in_part() -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    hook = "blocks.2.hook_attn_out"
    shared = assert_equals_runs(vlm, inputs, [(Halved(hook, "last"),), (HalvedWithReach(hook, "last"),)])
    in_full, in_part = shared.planned.variants
    assert "does not say what it touches" in in_full.reach.why_in_full and not in_part.reach.why_in_full
    assert in_part.decoder is not None and in_part.decoder.first_layer == 2 and len(in_part.decoder.ending) == 1


def test_hooks_of_heads_own_inputs_are_run_in_full() -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    shared = assert_equals_runs(vlm, inputs, [(NoiseAblation("last", "blocks.1.hook_q_input"),)])
    assert "off the way" in shared.planned.variants[0].reach.why_in_full


class KeptForOthers(Kept):
    """Keeps whole activations, and asks for the first position alone."""

    def asked(self, ground: Ground) -> Any:
        return {name: ground.sequences_at(name).mask([0]) for name in self.hook_names(ground.model)}


def test_a_mask_is_shown_where_no_row_asks() -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    keys, mask = Kept("blocks.1.attn.hook_k"), KeptForOthers("blocks.1.attn.hook_mask")
    ablation = ZeroAblation("image", "blocks.1.hook_resid_pre")
    shared = assert_equals_runs(vlm, inputs, [(ablation, keys, mask)], wanted=None)
    rows = shared.planned.variants[0].decoder
    assert rows is not None and rows.entered[1] is not None and not len(rows.asking[1])


def test_masks_read_among_other_activations_are_read_in_their_order() -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    kept = Kept(["blocks.1.hook_resid_pre", "blocks.1.attn.hook_mask", "blocks.1.attn.hook_z"])
    shared = assert_equals_runs(vlm, inputs, [(ZeroAblation("image"), kept)])
    assert "in their order" in shared.planned.variants[0].reach.why_in_full


def test_several_layers_of_the_tower_are_run_in_full_and_everything_behind_them_in_part() -> None:
    vlm, inputs = vlm_of("features of several layers"), inputs_of("features of several layers")
    shared = assert_equals_runs(
        vlm, inputs, [(NoiseAblation([2], "vision.blocks.0.hook_mlp_out"),), (ZeroAblation([2]),)], "all"
    )
    in_tower, behind = shared.planned.variants
    assert in_tower.reach.why_in_full == "the projector is given several layers of the tower"
    assert not behind.reach.why_in_full


def test_a_writer_of_the_mask_opens_again_what_a_knockout_has_blocked() -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    noise, mask = NoiseAblation("image", "blocks.0.hook_resid_post"), "blocks.1.attn.hook_mask"
    knockout = AttentionKnockout("last", "image", layers=[1])
    assert_equals_runs(vlm, inputs, [(noise, knockout, Opened(mask, "last")), (noise, knockout)])


def test_a_query_that_is_left_alone_is_refused_as_in_any_run() -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    blinded = Blinded("blocks.1.attn.hook_mask", "last")
    for run in (lambda: vlm.run(inputs, blinded), lambda: SharedRun(vlm, inputs, [(blinded,)]).run()):
        with pytest.raises(HookError, match="every query to keep at least one key"):
            run()
    assert all(point.is_idle for point in vlm.hook_dict.values())


def test_a_pattern_that_nobody_needs_is_not_written() -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    source = vlm.run(other_inputs(vlm, inputs), names_filter="blocks.1.attn.hook_pattern")
    patch = ActivationPatch(source, "blocks.1.attn.hook_pattern", "last")
    assert_equals_runs(vlm, inputs, [(NoiseAblation([4], "hook_embed"), patch, Kept("blocks.1.attn.hook_k"))], None)


def test_what_finds_nothing_and_may_skip_it_changes_nothing() -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    skipped = ZeroAblation([], "blocks.1.hook_resid_post", on_empty="skip")
    behind = ZeroAblation("last", "blocks.*.hook_resid_post", layers=[99], on_empty="skip")
    shared = assert_equals_runs(vlm, inputs, [(skipped,), (behind,), ()])
    assert all(one.decoder is not None and one.decoder.first_layer is None for one in shared.planned.variants)


def test_measures_are_run_in_full() -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    measure = IntegratedGradients(5, n_steps=2)
    shared = SharedRun(vlm, inputs, [(measure,)])
    (outcome,) = shared.run()
    assert "runs the model again" in shared.planned.variants[0].reach.why_in_full
    assert outcome.session[measure] is not None


@pytest.mark.parametrize("is_early", [True, False])
def test_whoever_else_stands_at_the_model_sees_whole_runs(is_early: bool) -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    conditions = [(AttentionKnockout("last", "image"),), (ZeroAblation("image"),)]
    shapes = []
    see: Any = lambda value, hook: shapes.append(tuple(value.shape))  # noqa: E731
    planned = SharedRun(vlm, inputs, conditions)
    with (
        vlm.hooks(fwd_hooks=[("blocks.1.hook_resid_post", see)]),
        vlm.attach(Steer(torch.ones(48), "hook_embed", "last")),
    ):
        shared = SharedRun(vlm, inputs, conditions) if is_early else planned
        outcomes = shared.run()
        expected = [vlm.run(inputs, *objects).logits[:, -1:] for objects in conditions]
    for outcome, logits in zip(outcomes, expected, strict=True):
        assert outcome.logits is not None and torch.equal(outcome.logits, logits)
    assert set(shapes) == {(*inputs.shape, 48)}
    if is_early:
        assert all(one.reach.why_in_full == "something else stands at the model" for one in shared.planned.variants)


@pytest.mark.parametrize("is_global", [True, False])
def test_hooks_of_torch_on_the_checkpoint_s_modules_see_whole_runs(is_global: bool) -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    linear = vlm.blocks[1].attn.q_proj

    def change_last(module: Any, given: Any, left: torch.Tensor) -> torch.Tensor | None:
        return torch.cat((left[:, :-1], left[:, -1:] + 1), dim=1) if module is linear else None

    register: Any = register_module_forward_hook if is_global else linear.register_forward_hook
    handle = register(change_last)
    try:
        assert_equals_runs(vlm, inputs, [(AttentionKnockout("last", "image"),), (ZeroAblation("image"),)])
    finally:
        handle.remove()


def test_text_alone_and_a_decoder_alone_are_shared_too() -> None:
    vlm = vlm_of("mistral, window shorter than the prompt")
    tokens = torch.arange(300, 312)[None]
    conditions = [
        (AttentionKnockout([9, 11], [8], layers=[1]),), (NoiseAblation([0], "hook_embed"),),
        (ZeroAblation([10], "blocks.1.mlp.hook_post"), Kept("hook_embed")), (),
    ]  # fmt: skip
    decoder = HookedTransformer.from_hf(filled(MistralForCausalLM(mistral())))
    for model in (vlm, decoder):
        assert_equals_runs(model, tokens, conditions, "all")
        assert_equals_runs(model, tokens, conditions, [5])


def test_a_run_leaves_nothing_of_what_it_worked_out() -> None:
    vlm, inputs = vlm_of("llama"), inputs_of("llama")
    shared = SharedRun(vlm, inputs, knockouts(inputs))
    first = [one.logits for one in shared.run()]
    assert not shared.planned.current.memo
    for one, again in zip(first, shared.run(), strict=True):
        assert again.logits is not None and torch.equal(one, again.logits)


def test_the_independent_loop_gives_the_same() -> None:
    """Against `transformers` with attention written out: nothing of it comes from this package."""
    vlm, inputs = vlm_of("llama"), inputs_of("llama", "padded")
    plain, last = Plain(tiny_llava("llama")), inputs.shape[1] - 1
    image = [inputs.layout.positions("image", row) for row in range(2)]
    blocked = {edge for row in range(2) for edge in edges("decoder", [1, 2], range(4), row, [last], image[row])}
    seen = {edge for row in range(2) for edge in edges("vision", [0], range(4), row, [1, 2], [5, 6, 7])}

    def zeroed(activation: Any) -> Any:
        activation[:, last - 2] = 0.0
        return activation

    outcomes = SharedRun(
        vlm, inputs,
        [
            (AttentionKnockout("last", "image", layers=[1, 2]),),
            (ZeroAblation([last - 2], "blocks.1.hook_resid_post"),),
            (AttentionKnockout([1, 2], [5, 6, 7], tower="vision", layers=[0]),),
            (AttentionKnockout("last", "image", layers=[1, 2]), ZeroAblation([last - 2], "blocks.0.hook_mlp_out")),
        ],
    ).run()  # fmt: skip
    with torch.no_grad():
        expected = [
            plain.logits(inputs, blocked), plain.logits(inputs, (), {("decoder", "layer", 1): zeroed}),
            plain.logits(inputs, seen), plain.logits(inputs, blocked, {("decoder", "mlp_out", 0): zeroed}),
        ]  # fmt: skip
    for outcome, logits in zip(outcomes, expected, strict=True):
        assert_near(outcome.logits, logits[:, -1:], "logits")
