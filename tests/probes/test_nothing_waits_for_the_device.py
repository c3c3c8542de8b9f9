"""While a model runs, these probes ask the device for no value: what they found moves once, when it is asked for."""

import pytest
import torch
from transformers import LlamaForCausalLM

from tests.tiny_models import D_VOCAB, llama
from vlm_lens import AttentionFlow, AttentionRollout, HookedTransformer, LogitLens, Reader


@pytest.mark.parametrize(
    "reader",
    [
        LogitLens(),
        LogitLens(top_k=3, targets=[7, 9], positions=[1, 3, -1], memory=1),
        AttentionFlow("last"),
        AttentionFlow([1, 3, 5], {"first": 0}, heads=[0, 1], keeps="heads"),
        AttentionRollout("all"),
    ],
    ids=repr,
)
def test_a_run_on_a_device_that_holds_no_values_passes(reader: Reader) -> None:
    """A meta tensor can be computed with, and fails whoever copies it to the CPU or asks what it holds."""
    model = HookedTransformer.from_hf(LlamaForCausalLM(llama()).to("meta").eval())
    run = model.run(torch.randint(260, D_VOCAB, (2, 6)), reader)
    assert run.logits.is_meta
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        run[reader]  # this is where results move
