"""A stream of tokens refuses what cannot work when it is asked for, not when its first token is drawn."""

import pytest

from vlm_lens import HookedVLM
from vlm_lens.errors import HookError, InputError
from vlm_lens.inputs import Inputs


def test_a_stream_that_cannot_work_is_refused_at_once(vlm: HookedVLM, inputs: Inputs) -> None:
    with pytest.raises(InputError, match="max_new_tokens"):
        vlm.stream(inputs, max_new_tokens=0)
    with pytest.raises(InputError, match="exceeds the context"):
        vlm.stream(inputs, max_new_tokens=vlm.cfg.n_ctx)
    with pytest.raises(HookError, match="blocks.0.hook_resid_post"):
        vlm.stream(inputs, names_filter="blocks.0.hook_resid_pots")


def test_names_given_as_an_iterator_are_kept_at_every_step(vlm: HookedVLM, inputs: Inputs) -> None:
    names = ["blocks.0.hook_resid_post", "ln_final.hook_scale"]
    steps = list(vlm.stream(inputs, max_new_tokens=3, eos_token_id=(), names_filter=iter(names)))
    assert [sorted(step.activations) for step in steps] == [sorted(names)] * 3
