"""`run.verify()` fails where an object, a kernel or the model does not do what was asked."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import new_checkpoint
from vlm_lens import AttentionKnockout, HookedVLM, Inputs, Writer
from vlm_lens.attachments import Here, PositionWriter
from vlm_lens.errors import HookError, VerificationError
from vlm_lens.model import attention, block
from vlm_lens.model.hook_point import HookPoint, MaskHookPoint

RESID = "blocks.0.hook_resid_post"
N_NEW = 3
HONEST = attention.fused_attention


@dataclass(frozen=True, eq=False)
class OnlyAtFirst(AttentionKnockout):
    """Forgets the rows of generated tokens, as a hook that sees the prompt alone does."""

    def write(self, activation: Tensor, here: Here) -> Tensor:
        return super().write(activation, here) if here.step == 0 else activation


@dataclass(frozen=True, eq=False)
class OneHeadShort(AttentionKnockout):
    """Leaves the last head open."""

    def write(self, activation: Tensor, here: Here) -> Tensor:
        mask = super().write(activation, here).expand(-1, 4, -1, -1).clone()
        mask[:, -1] = activation[:, -1]
        return mask


@dataclass(frozen=True, eq=False)
class OneEdgeTooMany(AttentionKnockout):
    """Blocks one edge that nobody named."""

    def write(self, activation: Tensor, here: Here) -> Tensor:
        mask = super().write(activation, here).clone()
        mask[0, :, -1, 0] = False
        return mask


@dataclass(frozen=True, eq=False)
class OneLayerShort(AttentionKnockout):
    """Never writes its last layer."""

    def write(self, activation: Tensor, here: Here) -> Tensor:
        return activation if here.layer == 1 else super().write(activation, here)


@dataclass(frozen=True, eq=False)
class OneKeyShort(AttentionKnockout):
    """Says itself that one key is open."""

    def blocked(self, layer: Any, sequences: Any, queries: Any) -> Any:
        blocked = super().blocked(layer, sequences, queries)
        blocked[0, -1, sequences.positions("image")[0]] = False
        return blocked


@pytest.mark.parametrize(
    "kind, message",
    [
        (OnlyAtFirst, "OnlyAtFirst.*step 1: expected the edge from query 24 .* blocked, got open"),
        (OneHeadShort, r"OneHeadShort.*blocks\.0.*step 0: .*head 3\) blocked, got open"),
        (OneEdgeTooMany, r"step 0: expected the edge from query 23 to key 0 \(row 0, head 0\) left, got blocked"),
        (OneLayerShort, r"OneLayerShort.*blocks\.1.*blocked, got open"),
        (OneKeyShort, r"OneKeyShort.*row 0, head 0\) blocked, got open"),
    ],
)
def test_a_knockout_that_does_not_block_what_it_says_is_found(
    vlm: HookedVLM, inputs: Inputs, kind: type[AttentionKnockout], message: str
) -> None:
    run = vlm.generate(inputs, kind("predicting", "image"), max_new_tokens=N_NEW, eos_token_id=())
    with pytest.raises(VerificationError, match=message):
        run.verify()


def block_one(mask: Tensor, hook: HookPoint) -> Tensor:
    mask[:, :, -1, 5] = False
    return mask


@pytest.mark.parametrize("name", ["blocks.0.attn.hook_mask", "vision.blocks.1.attn.hook_mask"])
def test_a_users_edit_of_a_mask_beside_what_was_attached_is_found(vlm: HookedVLM, inputs: Inputs, name: str) -> None:
    knockout = AttentionKnockout("last", "image", layers=1)
    with vlm.attach(knockout) as run, vlm.hooks(fwd_hooks=[(name, block_one)]):
        vlm(inputs)
        with pytest.raises(VerificationError, match=rf"Nothing that was attached: mask in force at {name}"):
            run.verify()
    with pytest.raises(VerificationError, match="Replay of the run: .* Something else stood at the model then"):
        run.verify()


@dataclass(frozen=True, eq=False)
class OwnMask(Writer):
    """A user's own writer of a mask: sets one column."""

    is_open: bool
    key: int
    hook: Any = "blocks.1.attn.hook_mask"

    def write(self, activation: Tensor, here: Here) -> Tensor:
        mask = activation.clone()
        mask[..., self.key] = self.is_open
        return mask


def test_a_users_own_writer_of_masks_may_take_away_and_not_give_back(vlm: HookedVLM, inputs: Inputs) -> None:
    knockout, image = AttentionKnockout("last", "image"), inputs.layout.positions("image")
    assert vlm.run(inputs, OwnMask(False, 1)).verify()
    assert vlm.run(inputs, knockout, OwnMask(False, 1)).verify()
    with pytest.warns(UserWarning, match=r"OwnMask\(is_open=True, key=2\) changes nothing that reaches the result"):
        assert vlm.run(inputs, OwnMask(True, image[0]), knockout).verify()
    with pytest.raises(VerificationError, match=r"AttentionKnockout.*blocks\.1.*blocked, got open"):
        vlm.run(inputs, knockout, OwnMask(True, image[0])).verify()


@dataclass(frozen=True, eq=False)
class Zero(PositionWriter):
    """Puts zeros in the place of some positions' activations."""

    positions: Any
    hook: Any = RESID
    heads: Any = None

    def value(self, activation: Tensor, here: Here) -> Tensor:
        return activation.new_zeros(())


@dataclass(frozen=True, eq=False)
class OnePositionShort(Zero):
    """Leaves its first position as it was."""

    def write(self, activation: Tensor, here: Here) -> Tensor:
        written = super().write(activation, here).clone()
        if here.step == 0:
            first = here.sequences.positions(self.positions)[0]
            written[0, first] = activation[0, first]
        return written


@dataclass(frozen=True, eq=False)
class OnePositionTooMany(Zero):
    """Writes a position that it does not name."""

    def write(self, activation: Tensor, here: Here) -> Tensor:
        written = super().write(activation, here).clone()
        written[1, 0] *= 1.001
        return written


@dataclass(frozen=True, eq=False)
class PromptAlone(Zero):
    """Forgets the positions of generated tokens."""

    def write(self, activation: Tensor, here: Here) -> Tensor:
        return super().write(activation, here) if here.step == 0 else activation


@dataclass(frozen=True, eq=False)
class AnotherHead(Zero):
    """Writes the head after the one it names."""

    def write(self, activation: Tensor, here: Here) -> Tensor:
        selected = here.selected(self.positions, activation, self.heads).roll(1, dims=2)
        return torch.where(selected, 0.0, activation)


@dataclass(frozen=True, eq=False)
class LeavesATrace(Zero):
    """Says that nothing is left of what it replaces, and leaves the mean of it."""

    def value(self, activation: Tensor, here: Here) -> Tensor:
        return activation.mean(dim=-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class SaysOther(Zero):
    """Says by `expected` that it doubles, and writes zeros."""

    def expected(self, before: Tensor, here: Here) -> Tensor:
        return 2 * before


@pytest.mark.parametrize(
    "writer, message",
    [
        (OnePositionShort("image"), "to hold what it says, to the bit, got .* values that differ"),
        (OnePositionTooMany("image"), r"every value outside its positions .* the first at \[1, 0, 0\]"),
        (PromptAlone("predicting"), "step 1: expected its positions to hold what it says"),
        (AnotherHead("image", "blocks.0.attn.hook_z", heads=1), "every value outside its positions and heads"),
        (LeavesATrace("last"), "noise in the place of what it replaces to change no result"),
        (SaysOther("last"), "to hold what it says"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_writer_that_does_not_write_what_it_says_is_found(
    vlm: HookedVLM, inputs: Inputs, writer: Writer, message: str
) -> None:
    run = vlm.generate(inputs, writer, max_new_tokens=N_NEW, eos_token_id=())
    with pytest.raises(VerificationError, match=message):
        run.verify()


def test_a_writer_that_leaves_a_trace_is_told_from_one_that_does_not(vlm: HookedVLM, inputs: Inputs) -> None:
    with pytest.raises(VerificationError, match="LeavesATrace"):
        vlm.run(inputs, Zero("image"), LeavesATrace("last")).verify()


def test_a_model_that_ignores_what_hooks_return_is_found(
    vlm: HookedVLM, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = HookPoint._checked

    def deaf(self: HookPoint, user_hook: Any, value: Tensor, hook: Any) -> None:
        checked(self, user_hook, value, hook)

    monkeypatch.setattr(HookPoint, "_checked", deaf)
    with pytest.raises(VerificationError, match="to hold what it says"):
        vlm.run(inputs, Zero("image")).verify()
    with pytest.raises(VerificationError, match="AttentionKnockout.*blocked, got open"):
        vlm.run(inputs, AttentionKnockout("last", "image")).verify()


def test_a_model_that_goes_on_with_another_activation_than_it_shows_is_found(
    vlm: HookedVLM, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = block.TransformerBlock.forward

    def deaf(self: Any, resid_pre: Tensor, *args: Any) -> Tensor:
        shown: list[Tensor] = []
        with monkeypatch.context() as within:
            within.setattr(self.hook_resid_post, "forward", lambda value: shown.append(value) or value)
            forward(self, resid_pre, *args)
        self.hook_resid_post(shown[0].clone())
        return shown[0]

    monkeypatch.setattr(block.TransformerBlock, "forward", deaf)
    with pytest.raises(VerificationError, match="The model shows this activation and goes on with another"):
        vlm.run(inputs, Zero("image")).verify()


def test_a_model_that_never_shows_its_mask_is_found(
    vlm: HookedVLM, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MaskHookPoint, "__call__", lambda self, mask: mask)
    with pytest.raises(VerificationError, match="hook_mask to be shown before pattern and result, got it never fired"):
        vlm.run(inputs, AttentionKnockout("last", "image")).verify()


def test_a_writer_that_was_never_called_is_found(
    vlm: HookedVLM, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HookPoint, "__call__", lambda self, value: value)
    with pytest.raises(VerificationError, match=r"Zero\(positions='image', name='z'\)|Zero.* was never called"):
        vlm.run(inputs, Zero("image", name="z")).verify()


def test_weights_that_changed_since_the_run_are_found(inputs: Inputs) -> None:
    vlm = HookedVLM.from_hf(new_checkpoint())
    run = vlm.run(inputs, AttentionKnockout("last", "image"))
    with torch.no_grad():
        vlm.ln_final.w.mul_(1.01)
    with pytest.raises(VerificationError, match="Replay of the run"):
        run.verify()


def test_a_proof_that_fails_leaves_nothing_behind(vlm: HookedVLM, inputs: Inputs) -> None:
    plain = vlm(inputs)
    with vlm.attach(OneEdgeTooMany("last", "image")) as run:
        vlm(inputs)
        with pytest.raises(VerificationError):
            run.verify()
        assert not torch.equal(vlm(inputs), plain)
    assert torch.equal(vlm(inputs), plain)
    with pytest.raises(HookError):
        run[AttentionKnockout("last", "image")]


@dataclass(frozen=True, eq=False)
class Forgetful(Writer):
    """Works something out, and forgets to return it."""

    hook: str = "blocks.0.hook_resid_post"

    def write(self, activation: Tensor, here: Here) -> None:
        activation * 2


def test_a_writer_that_changes_nothing_is_found(vlm: HookedVLM, inputs: Inputs) -> None:
    with pytest.raises(VerificationError, match=r"Forgetful\(\) did nothing: .*blocks.0.hook_resid_post"):
        vlm.run(inputs, Forgetful()).verify()


def test_a_run_whose_result_is_no_number_is_found(vlm: HookedVLM, inputs: Inputs) -> None:
    @dataclass(frozen=True, eq=False)
    class NotANumber(PositionWriter):
        positions: str = "last"
        hook: str = "blocks.0.hook_resid_post"

        def value(self, activation: Tensor, here: Here) -> Tensor:
            return torch.full_like(activation, torch.nan)

    with pytest.raises(VerificationError, match="Result of the run: expected finite values, got .* NaN or infinite"):
        vlm.run(inputs, NotANumber()).verify()
