"""The step of a generation: straight through the modules where nobody stands, else through the blocks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.modules import module as module_hooks

from vlm_lens import HookedVLM
from vlm_lens.inputs import Inputs
from vlm_lens.model.decoding import Decoding
from vlm_lens.model.generation import generated, stream_tokens
from vlm_lens.model.key_value_cache import KeyValueCache
from vlm_lens.model.plain_step import PlainStep
from vlm_lens.model.sampling import Sampling

N_STEPS = 8


@pytest.fixture(scope="module")
def demo_vlm() -> HookedVLM:
    return HookedVLM.demo()


def new_tokens(vlm: HookedVLM, n_steps: int = N_STEPS) -> Tensor:
    """[batch step]: ever new tokens, so that equal logits prove something."""
    return torch.randint(300, vlm.cfg.d_vocab, (2, n_steps), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def forced(vlm: HookedVLM, inputs: Inputs, next_logits: Callable[[Any, KeyValueCache], Tensor]) -> Tensor:
    """[batch step d_vocab]: what a way of running gives before each of the new tokens."""
    past = KeyValueCache(vlm.cfg.n_layers, inputs.shape[1] + N_STEPS)
    logits = [vlm(inputs, past=past, only_last=True)[:, -1]]
    for token in new_tokens(vlm).T:
        logits.append(next_logits(token[:, None], past))
    return torch.stack(logits, dim=1)


def test_a_step_straight_through_the_modules_gives_the_bits_of_the_blocks(vlm: HookedVLM, inputs: Inputs) -> None:
    step = PlainStep(vlm)
    straight = forced(vlm, inputs, lambda token, past: step.after(past, token))
    blocks = forced(vlm, inputs, lambda token, past: vlm(token, past=past)[:, -1])
    assert torch.equal(straight, blocks)
    assert blocks.argmax(dim=-1).unique().numel() > 2


def test_a_step_is_watched_by_any_hook_on_what_it_passes_by(vlm: HookedVLM) -> None:
    step = PlainStep(vlm)
    assert not step.is_watched
    for name in ("hook_embed", "blocks.0.attn.hook_pattern", "blocks.1.ln2.hook_scale", "unembed.hook_out"):
        with vlm.hooks(fwd_hooks=[(name, lambda value, hook: None)]):
            assert step.is_watched, name
    for module in (vlm, vlm.blocks[1], vlm.blocks[0].attn.q_proj, vlm.ln_final.norm):
        for handle in (module.register_forward_hook(print), module.register_forward_pre_hook(print)):
            assert step.is_watched, type(module)
            handle.remove()
    for register in (module_hooks.register_module_forward_hook, module_hooks.register_module_forward_pre_hook):
        handle = register(lambda *given: None)
        assert step.is_watched, register.__name__
        handle.remove()
    with vlm.hooks(fwd_hooks=[("vision.blocks.0.hook_resid_post", lambda value, hook: None)]):
        assert not step.is_watched, "no picture is looked at in a step"
    assert not step.is_watched


def test_hooks_of_torch_on_the_checkpoint_s_modules_act_at_every_step(vlm: HookedVLM, inputs: Inputs) -> None:
    n_seen = []
    handle = vlm.blocks[1].mlp.mlp_out.register_forward_hook(lambda module, given, output: n_seen.append(len(output)))
    try:
        vlm.generate(inputs, max_new_tokens=5, eos_token_id=())
    finally:
        handle.remove()
    assert len(n_seen) == 5


def test_the_text_of_a_step_is_the_same_whenever_it_is_asked_for(demo_vlm: HookedVLM) -> None:
    options = {"max_new_tokens": 12, "eos_token_id": ()}
    at_once = [step.strings for step in demo_vlm.stream("The cat is", **options)]
    later = [step.strings for step in list(demo_vlm.stream("The cat is", **options))]
    assert at_once == later
    whole = demo_vlm.generate("The cat is", **options).text
    assert "".join(strings[0] for strings in at_once).strip() == whole


@pytest.mark.parametrize("every", [2, 3, 50])
def test_asking_seldom_whether_all_rows_have_ended_changes_no_result(
    vlm: HookedVLM, inputs: Inputs, every: int
) -> None:
    free = vlm.generate(inputs, max_new_tokens=12, do_sample=True, seed=1, eos_token_id=()).tokens
    ends = tuple(free[:, 4].tolist())
    asked = {"max_new_tokens": 12, "sampling": Sampling(do_sample=True, seed=1), "end_tokens": ends}
    often, seldom = (
        generated(vlm, inputs, stream_tokens(vlm, inputs, **asked, end_check_every=one), None, ends, caches=False)
        for one in (1, every)
    )
    assert torch.equal(seldom.tokens, often.tokens) and torch.equal(seldom.logits, often.logits)
    assert often.tokens.shape[1] <= 5 and seldom.layout.shape == often.layout.shape


def test_a_run_without_attachments_can_still_be_proved(demo_vlm: HookedVLM) -> None:
    inputs = demo_vlm.prompts_of("The cat is")
    run = demo_vlm.generate(inputs, max_new_tokens=4, eos_token_id=())
    record = run.session.record
    assert record.n_steps == 4 and torch.equal(torch.cat(record.tokens, dim=1), run.tokens[:, :-1])
    torch.testing.assert_close(torch.stack(record.ends, dim=1), run.logits, rtol=0, atol=0)
    assert len(run.verify())


def test_a_step_that_fails_leaves_the_cache_as_it_was(vlm: HookedVLM, inputs: Inputs) -> None:
    past = KeyValueCache(vlm.cfg.n_layers, inputs.shape[1] + 4)
    decoding = Decoding(vlm, past, n_steps=4)

    def fail(*given: Any) -> None:
        raise KeyboardInterrupt

    token = new_tokens(vlm, 1)
    with torch.no_grad():
        decoding.logits(inputs)
        handle = vlm.blocks[1].register_forward_pre_hook(fail)
        try:
            with pytest.raises(KeyboardInterrupt):
                decoding.logits(token)
        finally:
            handle.remove()
        assert past.n_positions == inputs.shape[1]
        after = decoding.logits(token)
        whole = vlm(inputs.continued(token[:, 0]))[:, -1]
    torch.testing.assert_close(after, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))
