"""A *trained* LLaMA with grouped-query attention (stories260k): logits and greedy text as `transformers` gives them.

It is not in the repository: VLM_LENS_REAL_DATA names the folder that `stories260k` lies in. Without it these tests are
skipped.
"""

import os
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from vlm_lens import HookedTransformer

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "real"
FOLDER = Path(os.environ.get("VLM_LENS_REAL_DATA") or _BESIDE) / "stories260k"
N_STEPS = 60
BOS = 1

pytestmark = pytest.mark.skipif(
    not (FOLDER / "config.json").is_file(), reason="no trained LLaMA at hand: set VLM_LENS_REAL_DATA"
)


@cache
def checkpoint() -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(FOLDER, dtype="float32", local_files_only=True).eval()


@cache
def hooked() -> HookedTransformer:
    return HookedTransformer.from_hf(checkpoint())


@cache
def story() -> torch.Tensor:
    """[1 pos]: what the checkpoint itself writes from nothing."""
    start = torch.tensor([[BOS]])
    mask = torch.ones_like(start)
    return checkpoint().generate(
        start, attention_mask=mask, max_new_tokens=N_STEPS, do_sample=False, eos_token_id=None, pad_token_id=0
    )


def test_the_model_is_trained_and_its_keys_are_grouped() -> None:
    """It finds its own text likely (a random model of 512 tokens: ln 512 = 6.2 nats), and heads share keys."""
    with torch.no_grad():
        loss = hooked()(story(), return_type="loss")
    assert loss < 2.0
    assert hooked().cfg.n_kv < hooked().cfg.n_heads


def test_logits_are_equal_to_the_bit() -> None:
    with torch.no_grad():
        assert torch.equal(hooked()(story()), checkpoint()(story()).logits)


def test_a_left_padded_batch_has_the_logits_of_its_rows() -> None:
    tokens = story()[:, :30]
    short = tokens[:, :18]
    batch = torch.cat((tokens, torch.cat((torch.zeros(1, 12, dtype=torch.long), short), dim=1)))
    mask = torch.ones_like(batch)
    mask[1, :12] = 0
    with torch.no_grad():
        together, alone = hooked()(batch, attention_mask=mask), hooked()(short)
    assert (together[1, 12:] - alone[0]).abs().max() <= 1e-5 * alone.abs().max()


@pytest.mark.parametrize("use_cache", [True, False], ids=["cached", "uncached"])
def test_greedy_text_is_the_same(use_cache: bool) -> None:
    run = hooked().generate(torch.tensor([[BOS]]), max_new_tokens=N_STEPS, eos_token_id=(), use_cache=use_cache)
    assert torch.equal(run.tokens, story()[:, 1:])
    assert run.tokens.unique().numel() > 15, "a text that repeats itself would prove little"
