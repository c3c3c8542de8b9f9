"""`run.verify()` fails where a kernel does not keep to the mask or does not read the values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from vlm_lens import AttentionKnockout, HookedVLM, Inputs
from vlm_lens.errors import VerificationError
from vlm_lens.model import attention

N_NEW = 3


HONEST = attention.fused_attention


@dataclass
class Kernel:
    """A fused kernel that forgets the mask of the calls that `forgets` picks: by number, queries and keys."""

    forgets: Callable[[int, int, int], bool]
    heads: tuple[int, ...] = (0, 1, 2, 3)
    share: float = 1.0
    n_calls: int = 0

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool, scale: float) -> Tensor:
        self.n_calls += 1
        z = HONEST(q, k, v, mask, is_causal, scale)
        if mask is None or not self.forgets(self.n_calls, q.shape[2], k.shape[2]):
            return z
        open_z = HONEST(q, k, v, torch.ones_like(mask), False, scale)  # the last query may see all that is there
        heads = list(self.heads)
        z[:, :, heads] += self.share * (open_z - z)[:, :, heads]
        return z


@pytest.mark.parametrize(
    "kernel",
    [
        Kernel(lambda call, queries, keys: True),
        Kernel(lambda call, queries, keys: keys > 24),
        Kernel(lambda call, queries, keys: True, heads=(2,)),
        Kernel(lambda call, queries, keys: keys > 24, heads=(0,)),
    ],
    ids=["everywhere", "at cached steps", "one head", "one head at cached steps"],
)
def test_a_kernel_that_ignores_the_mask_is_found(
    vlm: HookedVLM, inputs: Inputs, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    knockout = AttentionKnockout("predicting", "image")
    assert vlm.generate(inputs, knockout, max_new_tokens=N_NEW, eos_token_id=()).verify()
    monkeypatch.setattr(attention, "fused_attention", kernel)
    run = vlm.generate(inputs, knockout, max_new_tokens=N_NEW, eos_token_id=())
    with pytest.raises(VerificationError, match="Result of attention .* pattern @ v under the mask asked for"):
        run.verify()


def test_a_kernel_that_ignores_the_mask_in_the_vision_tower_is_found(
    vlm: HookedVLM, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "fused_attention", Kernel(lambda call, queries, keys: True, heads=(1,)))
    run = vlm.run(inputs, AttentionKnockout("cls", "patches", tower="vision", layers=1))
    with pytest.raises(VerificationError, match=r"Result of attention at vision\.blocks\.1\.attn\.hook_z"):
        run.verify()


@pytest.mark.parametrize("layer", [0, 1])
def test_a_kernel_that_ignores_the_mask_in_one_layer_is_found(
    vlm: HookedVLM, inputs: Inputs, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = attention.Attention._read

    def forgetful(self: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any) -> Tensor:
        z = read(self, q, k, v, mask)
        return HONEST(q, k, v, mask.allowed, False, 1.0 / self.cfg.attn_scale) if self is blind else z

    blind = vlm.blocks[layer].attn
    monkeypatch.setattr(attention.Attention, "_read", forgetful)
    run = vlm.run(inputs, AttentionKnockout("last", "image"))
    with pytest.raises(VerificationError, match=rf"Result of attention at blocks\.{layer}\.attn\.hook_z, step 0"):
        run.verify()


def test_a_kernel_that_leaks_less_than_rounding_is_found_by_noise(
    vlm: HookedVLM, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "fused_attention", Kernel(lambda *_: True, share=1e-6))
    run = vlm.run(inputs, AttentionKnockout("last", "image"))
    with pytest.raises(VerificationError, match="Noise in blocked values .* sees none of it, to keep every bit"):
        run.verify()


def test_a_kernel_that_reads_no_values_is_found(
    vlm: HookedVLM, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were nothing to move under noise, that nothing moves would prove nothing."""
    from vlm_lens.attachments.verification import noise

    monkeypatch.setattr(noise.NoiseProof, "_noised", lambda self, v, here, number: v)
    with pytest.raises(VerificationError, match="queries that see it to move, got none of"):
        vlm.run(inputs, AttentionKnockout("last", "image")).verify()
