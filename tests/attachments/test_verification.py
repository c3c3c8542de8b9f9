"""`run.verify()` repeats a run, covers every layer, head and step of it, and says what it found."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import LlamaForCausalLM

from tests.model.tiny_vlms import FAMILIES, new_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import llama
from vlm_lens import (
    ActivationPatch,
    AttentionKnockout,
    HookedCLIP,
    HookedTransformer,
    HookedVLM,
    Inputs,
    NoiseAblation,
    Steer,
    TopKContext,
    Writer,
)
from vlm_lens.attachments import EdgeBlocker, Here, PositionWriter
from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.attachments.running.standing import standing_at
from vlm_lens.attachments.verification import Finding, Verification
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import HookError, VerificationError

RESID = "blocks.0.hook_resid_post"


@dataclass(frozen=True, eq=False)
class Put(PositionWriter):
    """Puts a number in the place of some positions' activations."""

    positions: Any
    hook: Any = RESID
    number: float = 0.5
    layers: Any = "all"
    heads: Any = None

    def value(self, activation: Tensor, here: Here) -> Tensor:
        return activation.new_full((), self.number)


@dataclass(frozen=True, eq=False)
class Doubled(PositionWriter):
    """Doubles some positions' activations: what was there stays in."""

    positions: Any
    hook: Any = RESID
    overwrites = False

    def value(self, activation: Tensor, here: Here) -> Tensor:
        return 2 * activation


@dataclass(frozen=True, eq=False)
class Negated(Writer):
    """Turns an activation round, in place."""

    hook: Any = RESID

    def write(self, activation: Tensor, here: Here) -> Tensor:
        return activation.neg_()


@dataclass(frozen=True, eq=False)
class EverySecondKey(EdgeBlocker):
    """Blocks every second key, of each query another half, but never the query itself."""

    layers: Any = "all"
    tower: str = "decoder"

    def blocked(self, layer: int, sequences: Sequences, queries: range) -> Bool[Tensor, "batch query_pos key_pos"]:
        key, query = torch.arange(queries.stop)[None], torch.tensor(list(queries))[:, None]
        return ((query - key) % 2 == 1).expand(sequences.n_rows, -1, -1)


@pytest.fixture
def vlm() -> Any:
    vlm = tiny_vlm()
    yield vlm
    assert all(point.is_idle for point in vlm.hook_dict.values())
    assert not vlm._forward_pre_hooks and not vlm._forward_hooks and standing_at(vlm) == ()


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm)


def finding(verification: Verification, one: Any, words: str) -> Finding:
    """The one finding about an object whose sentence has these words."""
    (found,) = [each for each in verification.of(one) if words in each.check]
    return found


def attached(vlm: HookedVLM, inputs: Inputs, *objects: Any) -> Verification:
    with vlm.attach(*objects) as run:
        vlm(inputs)
        return run.verify()


USES = {
    "run": lambda vlm, inputs, *objects: vlm.run(inputs, *objects).verify(),
    "generate": lambda vlm, inputs, *objects: vlm.generate(
        inputs, *objects, max_new_tokens=4, eos_token_id=()
    ).verify(),
    "generate without cache": lambda vlm, inputs, *objects: vlm.generate(
        inputs, *objects, max_new_tokens=3, eos_token_id=(), use_cache=False
    ).verify(),
    "attach": attached,
}


@pytest.mark.parametrize("family, use", list(zip(FAMILIES, USES, strict=True)))
def test_blockers_of_every_kind_hold_together(family: str, use: str) -> None:
    vlm = tiny_vlm(family)
    inputs = tiny_inputs(vlm, is_padded=use != "run")
    region = inputs.layout.patches(rows=3)
    objects = [
        AttentionKnockout("predicting", "image"),
        AttentionKnockout("question", region, layers=0, heads=[0, 3]),
        AttentionKnockout(region, ~region, tower="vision", layers=range(2), heads=1, bidirectional=True),
    ]
    verification = USES[use](vlm, inputs, *objects)
    for one in objects:
        n_edges = finding(verification, one, "the mask in force").n_covered
        assert finding(verification, one, "noise in the place").n_covered == n_edges > 0
    assert finding(verification, objects[0], "without it").deviation > 1e-3
    assert finding(verification, "run", "repeated").deviation == 0.0
    for tower in ("decoder tower", "vision tower"):
        assert finding(verification, tower, "pattern @ v").deviation <= 1e-6


def test_edges_are_counted_head_by_head_and_step_by_step(vlm: HookedVLM, inputs: Inputs) -> None:
    knockout = AttentionKnockout("predicting", "image", layers=[1], heads=[0, 2])
    run = vlm.generate(inputs, knockout, max_new_tokens=4, eos_token_id=())
    found = finding(run.verify(), knockout, "the mask in force")
    n_patches = len(inputs.layout.patches())
    assert (found.n_layers, found.n_heads, found.n_steps) == (1, 2, 4)
    assert found.n_covered == 2 * 2 * n_patches * 4  # rows, heads, keys, steps: one predicting query each


def test_image_to_generated_holds_from_the_first_token_on_and_the_papers_form_from_the_second(
    vlm: HookedVLM, inputs: Inputs
) -> None:
    ours, papers = AttentionKnockout("predicting", "image"), AttentionKnockout("generated", "image")
    for one, n_steps in ((ours, 4), (papers, 3)):
        verification = vlm.generate(inputs, one, max_new_tokens=4, eos_token_id=()).verify()
        assert finding(verification, one, "the mask in force").n_steps == n_steps
        assert finding(verification, one, "noise in the place").n_steps == n_steps


def test_both_directions_are_tried_with_noise(vlm: HookedVLM, inputs: Inputs) -> None:
    one_way = AttentionKnockout("cls", "patches", tower="vision", name="one way")
    both = AttentionKnockout("cls", "patches", tower="vision", bidirectional=True, name="both")
    n_one = finding(vlm.run(inputs, one_way).verify(), one_way, "noise in the place").n_covered
    n_both = finding(vlm.run(inputs, both).verify(), both, "noise in the place").n_covered
    assert n_both == 2 * n_one


@pytest.mark.parametrize("tower", ["decoder", "vision"])
def test_edges_of_another_shape_are_proved_as_far_as_they_can_be(vlm: HookedVLM, inputs: Inputs, tower: str) -> None:
    one = EverySecondKey(tower=tower)
    verification = vlm.generate(inputs, one, max_new_tokens=3, eos_token_id=()).verify()
    n_edges = finding(verification, one, "the mask in force").n_covered
    tested = finding(verification, one, "noise in the place")
    assert 0 < tested.n_covered <= n_edges
    assert f"of {n_edges:,} edges" in tested.check or tested.n_covered == n_edges


@pytest.mark.parametrize(
    "writer",
    [
        Put("image"),
        Put("predicting", "blocks.*.attn.hook_z", heads=[1]),
        Put("image", "blocks.*.hook_resid_post", layers=0),
        Put("image", "projector.hook_out"),
        Put("cls", "vision.blocks.*.hook_mlp_out"),
        Put("last", "blocks.*.attn.hook_pattern", number=0.1),
        Put("all", "unembed.hook_out"),
        Put({1: "question"}, "blocks.*.attn.hook_v", heads=0),
        Doubled("last"),
        Negated(),
        Negated("blocks.*.attn.hook_z"),
    ],
    ids=repr,
)
def test_writers_leave_what_they_say_and_nothing_of_what_they_replace(
    vlm: HookedVLM, inputs: Inputs, writer: Writer
) -> None:
    knockout = AttentionKnockout("predicting", "image", layers=0)
    others = [] if writer.hook.endswith(("pattern", "unembed.hook_out")) else [knockout]  # they leave it no effect
    verification = vlm.generate(inputs, writer, *others, max_new_tokens=2, eos_token_id=()).verify()
    assert finding(verification, writer, "without it").deviation > 0
    if isinstance(writer, PositionWriter):
        written = finding(verification, writer, "hold what it says")
        assert written.deviation == written.tolerance == 0.0
        replaced = [one for one in verification.of(writer) if "of what it replaces" in one.check]
        assert len(replaced) == int(writer.overwrites)
    else:
        assert finding(verification, writer, "was called")


def test_a_pattern_that_gives_a_blocked_edge_its_weight_back_is_told(vlm: HookedVLM, inputs: Inputs) -> None:
    knockout, put = AttentionKnockout("last", "image"), Put("last", "blocks.*.attn.hook_pattern", number=0.1)
    with pytest.raises(VerificationError, match="A writer of scores or pattern gives weight to blocked edges"):
        vlm.run(inputs, knockout, put).verify()


def test_the_packages_own_writers_prove_themselves_together_on_a_trained_model() -> None:
    vlm, (scene, other, *_) = HookedVLM.demo(), example_scenes()
    inputs = vlm.prepare(scene.scene.image, "Is there a cat in this image?")
    cat, width, n_patches = inputs.layout.region(scene.subject.mask), vlm.cfg.d_model, len(inputs.layout.patches())
    hook = "blocks.2.hook_resid_pre"
    source = vlm.run(vlm.prepare(other.scene.image, "What is it?"), names_filter=hook)
    objects = [
        NoiseAblation(cat, adds=True),
        ActivationPatch(source, hook, "last"),
        Steer(torch.ones(width), "blocks.*.hook_resid_post", "predicting", scale=4.0, layers=[3]),
        TopKContext(0.05, torch.rand(vlm.cfg.n_layers, n_patches)),
    ]
    verification = vlm.run(inputs, *objects).verify()
    for one in objects[:3]:
        assert finding(verification, one, "hold what it says").deviation == 0.0
    n_edges = finding(verification, objects[3], "the mask in force").n_covered
    assert finding(verification, objects[3], "noise in the place").n_covered == n_edges > 0


def test_a_blocker_that_blocks_nothing_says_so() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    one = TopKContext(1.0, torch.rand(2, len(inputs.layout.patches())))
    assert finding(vlm.run(inputs, one).verify(), one, "names no edge that exists")


def test_positions_are_counted_over_rows_layers_and_steps(vlm: HookedVLM, inputs: Inputs) -> None:
    writer = Put("predicting", "blocks.*.hook_resid_post")
    found = finding(
        vlm.generate(inputs, writer, max_new_tokens=3, eos_token_id=()).verify(), writer, "hold what it says"
    )
    assert (found.n_layers, found.n_steps, found.n_covered) == (2, 3, 2 * 2 * 3)


def test_an_identity_is_proved_although_it_moves_nothing(vlm: HookedVLM, inputs: Inputs) -> None:
    @dataclass(frozen=True, eq=False)
    class Same(PositionWriter):
        positions: Any = "image"
        hook: Any = RESID
        overwrites = False

        def value(self, activation: Tensor, here: Here) -> Tensor:
            return activation

    same = Same()
    verification = vlm.run(inputs, same).verify()
    assert finding(verification, same, "without it").deviation == 0.0
    assert finding(verification, same, "the model reads")


def test_a_writer_that_draws_anew_is_no_proof_of_the_run(vlm: HookedVLM, inputs: Inputs) -> None:
    @dataclass(frozen=True, eq=False)
    class Random(PositionWriter):
        positions: Any = "last"
        hook: Any = RESID

        def value(self, activation: Tensor, here: Here) -> Tensor:
            return torch.randn_like(activation)

    with pytest.raises(VerificationError, match="a writer is random"):
        vlm.run(inputs, Random()).verify()


def test_two_writers_on_one_hook_are_told_apart(vlm: HookedVLM, inputs: Inputs) -> None:
    first, second = Put("all", number=1.0), Put("last", number=2.0)
    verification = vlm.run(inputs, first, second).verify()
    assert {finding(verification, one, "hold what it says").n_covered for one in (first, second)} == {45, 2}


def test_clip_is_proved_in_both_towers() -> None:
    clip = HookedCLIP.demo()
    inputs = clip.prepare([one.scene.image for one in example_scenes()[:2]], ["A cat.", "A dog in a picture."])
    focus = AttentionKnockout("cls", [3, 4, 5], layers=(0.5, 1.0), tower="vision", heads=[0])
    words = AttentionKnockout(2, 1, tower="text")
    put = Put("all", "hook_image_embed")
    with pytest.warns(UserWarning, match="AttentionKnockout.*tower='vision'.* changes nothing that reaches") as told:
        verification = clip.run(inputs, focus, words, put).verify()
    assert len(told) == 1  # what the vision tower gives is replaced, and the words are read
    assert finding(verification, focus, "noise in the place").n_covered > 0
    assert finding(verification, words, "the mask in force").n_covered > 0
    assert finding(verification, put, "hold what it says").n_covered == 2


def test_a_decoder_alone_is_proved_with_an_attention_mask_beside_its_tokens() -> None:
    decoder = HookedTransformer.from_hf(LlamaForCausalLM(llama(num_hidden_layers=2)).eval())
    tokens, mask = torch.randint(3, 90, (2, 7)), torch.ones(2, 7, dtype=torch.long)
    mask[1, :3] = 0
    knockout = AttentionKnockout([5, 6], [3, 4])
    assert vlm_edges(decoder.run(tokens, knockout, attention_mask=mask).verify(), knockout) > 0
    assert vlm_edges(decoder.run(tokens, knockout, start_at_layer=None).verify(), knockout) > 0
    stream = torch.randn(2, 7, decoder.cfg.d_model)
    found = decoder.run(stream, knockout, start_at_layer=1).verify()
    assert finding(found, knockout, "the mask in force").n_layers == 1


def vlm_edges(verification: Verification, one: Any) -> int:
    return finding(verification, one, "the mask in force").n_covered


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_are_proved_within_their_own_tolerance(dtype: torch.dtype) -> None:
    vlm = HookedVLM.from_hf(new_checkpoint().to(dtype))
    knockout = AttentionKnockout("predicting", "image")
    verification = vlm.generate(tiny_inputs(vlm), knockout, max_new_tokens=3, eos_token_id=()).verify()
    assert finding(verification, knockout, "noise in the place").deviation == 0.0


def test_objects_attached_around_a_run_belong_to_it(vlm: HookedVLM, inputs: Inputs) -> None:
    outer, inner = AttentionKnockout("last", "image", layers=0), AttentionKnockout("last", "question", layers=1)
    with vlm.attach(outer):
        run = vlm.run(inputs, inner)
        inside = run.verify()
    for verification in (inside, run.verify()):
        assert finding(verification, outer, "the mask in force")
        assert finding(verification, inner, "the mask in force")


def test_a_proof_inside_a_block_leaves_the_blocks_own_results_alone(vlm: HookedVLM, inputs: Inputs) -> None:
    knockout = AttentionKnockout("predicting", "image")
    with vlm.attach(knockout) as run:
        before = vlm(inputs)
        record = run.record
        run.verify()
        assert run.record is record and len(record.ends) == 1
        assert torch.equal(vlm(inputs), before)
        vlm.generate(inputs, max_new_tokens=3, eos_token_id=())
        assert finding(run.verify(), knockout, "the mask in force").n_steps == 3


def test_what_was_skipped_is_said(vlm: HookedVLM, inputs: Inputs) -> None:
    skipped, real = AttentionKnockout("newline", "image", on_empty="skip"), AttentionKnockout("last", "image")
    verification = vlm.run(inputs, skipped, real).verify()
    assert [one.check[:7] for one in verification.of(skipped)] == ["skipped"]
    assert len(verification.of(real)) >= 3


def test_a_run_with_nothing_attached_has_masks_without_a_gap(vlm: HookedVLM, inputs: Inputs) -> None:
    verification = vlm.run(inputs).verify()
    assert finding(verification, "decoder tower", "every layer lacks no edge")
    assert verification.n_runs == 1


def test_nothing_is_proved_before_a_run(vlm: HookedVLM) -> None:
    with vlm.attach(AttentionKnockout("last", "image")) as run, pytest.raises(HookError, match="Nothing was run yet"):
        run.verify()


def test_a_verification_reads_as_text_table_and_page(vlm: HookedVLM, inputs: Inputs) -> None:
    knockout = AttentionKnockout("last", "image", name="<blind>")
    verification = vlm.run(inputs, knockout, Put("last")).verify()
    frame = verification.to_dataframe()
    assert len(frame) == len(verification) and set(frame["object"]) >= {"run", "<blind>", "Put(positions='last')"}
    assert "<blind>\n  the mask in force" in repr(verification)
    assert "&lt;blind&gt;" in verification._repr_html_() and "<blind>" not in verification._repr_html_()
    held = frame.dropna(subset="tolerance")
    assert (held["deviation"] <= held["tolerance"]).all()
