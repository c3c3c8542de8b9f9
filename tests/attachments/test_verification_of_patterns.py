"""`run.verify()` finds a wrong pattern, and a kernel that ignores the mask of a user's own writer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from vlm_lens import AttentionKnockout, HookedVLM, Inputs, Writer
from vlm_lens.attachments import Here
from vlm_lens.errors import VerificationError
from vlm_lens.model import attention

KERNEL, SOFTMAX = attention.fused_attention, attention.attention_pattern


@pytest.fixture
def vlm() -> HookedVLM:
    return tiny_vlm()


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm, is_padded=False)


def without_sum(pattern: Tensor) -> Tensor:
    """Rows that sum to 1.001, in the last head."""
    pattern = pattern.clone()
    pattern[:, -1] *= 1.001
    return pattern


def with_leak(pattern: Tensor) -> Tensor:
    """Rows that sum to 1, with a millionth for every key that had nothing."""
    leaking = pattern.clamp(min=1e-6)
    return leaking / leaking.sum(dim=-1, keepdim=True)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (without_sum, r"Attention pattern at .*blocks\.0.*rows that sum to 1"),
        (with_leak, r"Attention pattern at .*blocks\.0.*weights of blocked edges that are 0, to the bit"),
    ],
    ids=["rows that do not sum to 1", "weight on blocked keys"],
)
@pytest.mark.parametrize("tower", ["decoder", "vision"])
def test_a_softmax_that_is_wrong_is_found(
    vlm: HookedVLM,
    inputs: Inputs,
    tower: Any,
    spoil: Callable[[Tensor], Tensor],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    knockout = AttentionKnockout(-1, [3, 4], tower=tower)
    assert vlm.run(inputs, knockout).verify()
    monkeypatch.setattr(attention, "attention_pattern", lambda scores: spoil(SOFTMAX(scores)))
    with pytest.raises(VerificationError, match=message):
        vlm.run(inputs, knockout).verify()


@dataclass(frozen=True, eq=False)
class Blinkers(Writer):
    """A user's own writer of masks: the last query loses some keys."""

    keys: Any
    layers: Any = "all"
    hook: Any = "blocks.*.attn.hook_mask"

    def write(self, activation: Tensor, here: Here) -> Tensor:
        mask = activation.clone()
        mask[..., -1, self.keys] = False
        return mask


def deaf(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool, scale: float) -> Tensor:
    """A kernel that forgets every mask that somebody wrote."""
    return KERNEL(q, k, v, None if mask is None else torch.ones_like(mask), is_causal, scale)


def test_the_masks_of_a_users_own_writer_are_not_called_untouched(vlm: HookedVLM, inputs: Inputs) -> None:
    verification = vlm.run(inputs, Blinkers([4, 5, 6], layers=[1])).verify()
    of_decoder = {one.check: one for one in verification.of("decoder tower")}
    assert of_decoder["the mask of every other layer lacks no edge"].n_layers == 1
    (taken,) = [one for check, one in of_decoder.items() if "lack these edges" in check]
    assert not taken.is_independent and taken.n_layers == 1
    assert taken.n_covered == 2 * vlm.cfg.n_heads * 3  # rows, heads, keys
    (result,) = [one for check, one in of_decoder.items() if "pattern @ v" in check]
    assert result.n_layers == 1 and result.n_covered > 0


def test_with_masks_written_everywhere_none_is_called_untouched(vlm: HookedVLM, inputs: Inputs) -> None:
    verification = vlm.run(inputs, Blinkers([4, 5, 6])).verify()
    assert not any("lacks no edge" in one.check for one in verification.of("decoder tower"))


@pytest.mark.parametrize("others", [(), (AttentionKnockout("last", [8, 9], layers=0),)], ids=["alone", "beside"])
def test_a_kernel_that_ignores_the_mask_of_a_users_own_writer_is_found(
    vlm: HookedVLM, inputs: Inputs, others: tuple[Writer, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Blinkers([4, 5, 6], layers=[1])
    assert vlm.generate(inputs, writer, *others, max_new_tokens=2, eos_token_id=()).verify()
    read = attention.Attention._read

    def forgetful(self: Any, *given: Any) -> Tensor:
        with monkeypatch.context() as within:
            if self is vlm.blocks[1].attn:
                within.setattr(attention, "fused_attention", deaf)
            return read(self, *given)

    monkeypatch.setattr(attention.Attention, "_read", forgetful)
    with pytest.raises(VerificationError, match=r"Result of attention at blocks\.1\.attn\.hook_z"):
        vlm.run(inputs, writer, *others).verify()
