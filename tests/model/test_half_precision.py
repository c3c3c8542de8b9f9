"""Half precision: reading changes nothing, even where raw scores exceed what fp16 holds."""

import pytest
import torch

from tests.model.tiny_vlms import new_checkpoint, tiny_inputs
from vlm_lens import HookedVLM


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_reading_everything_changes_no_logit(dtype: torch.dtype, scale: float) -> None:
    vlm = HookedVLM.from_hf(new_checkpoint())
    with torch.no_grad():
        for block in vlm.blocks:
            block.attn.q_proj.weight.mul_(scale)
            block.attn.k_proj.weight.mul_(scale)
    vlm.to(dtype)
    inputs = tiny_inputs(vlm)
    names = [("blocks.0.attn.hook_pattern", lambda value, hook: None), (lambda name: True, lambda value, hook: None)]
    with torch.no_grad():
        clean = vlm(inputs)
        read = vlm.run_with_hooks(inputs, fwd_hooks=names)
    assert torch.isfinite(clean[inputs.attention_mask.bool()]).all()
    assert torch.equal(read, clean)


def test_a_model_in_bf16_says_so_and_keeps_rotary_frequencies_in_fp32() -> None:
    vlm = HookedVLM.from_hf(new_checkpoint()).to(torch.bfloat16)
    assert vlm.cfg.dtype == vlm.vision.cfg.dtype == torch.bfloat16
    assert vlm.rotary.inv_freq.dtype == torch.float32
    assert vlm.double().cfg.dtype == torch.float64
