"""Reading changes nothing: with any set of read-only hooks the logits are the same to the bit."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.model.tiny_vlms import FAMILIES, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.model.written_out import WrittenOut, distance
from vlm_lens import HookedVLM

MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "grad": nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}
READERS: dict[str, Callable[..., Tensor | None]] = {
    "returns nothing": lambda value, hook: None,
    "returns what it got": lambda value, hook: value,
    "returns an equal copy": lambda value, hook: value.clone(),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> HookedVLM:
    return tiny_vlm(request.param)


@pytest.mark.parametrize("is_padded", [True, False], ids=["padded", "unpadded"])
def test_all_names_at_once_leave_the_logits_alone(family: HookedVLM, is_padded: bool) -> None:
    inputs = tiny_inputs(family, is_padded)
    with torch.no_grad():
        alone = family(inputs)
    everything = lambda name: True  # noqa: E731
    for mode in MODES.values():
        with mode():
            assert torch.equal(family(inputs), alone)
            assert torch.equal(family.run_with_cache(inputs)[0], alone)
            assert torch.equal(family.run_with_cache(inputs, names_filter=everything)[0], alone)
            for reader in READERS.values():
                assert torch.equal(family.run_with_hooks(inputs, fwd_hooks=[(everything, reader)]), alone)


def test_each_name_alone_leaves_the_logits_alone(vlm: HookedVLM, inputs: Any) -> None:
    alone = vlm(inputs)
    for name in vlm.hook_dict:
        read = vlm.run_with_hooks(inputs, fwd_hooks=[(name, READERS["returns nothing"])])
        assert torch.equal(read, alone), name
        with torch.no_grad():
            cached, cache = vlm.run_with_cache(inputs, names_filter=name)
        assert torch.equal(cached, alone), name
        assert list(cache.keys()) == [name]


def test_any_set_of_readers_leaves_the_logits_alone(vlm: HookedVLM, inputs: Any) -> None:
    alone = vlm(inputs)
    kinds = st.sampled_from([*READERS, "caches"])
    readers = st.lists(st.tuples(st.sampled_from(sorted(vlm.hook_dict)), kinds), max_size=12)

    @settings(max_examples=30)
    @given(readers=readers, mode=st.sampled_from(sorted(MODES)))
    def check(readers: list[tuple[str, str]], mode: str) -> None:
        hooks = []
        for name, kind in readers:
            hooks += vlm.get_caching_hooks(name)[1] if kind == "caches" else [(name, READERS[kind])]
        with MODES[mode]():
            assert torch.equal(vlm.run_with_hooks(inputs, fwd_hooks=hooks), alone)

    check()


def test_reading_leaves_a_prompt_without_picture_alone(vlm: HookedVLM) -> None:
    tokens = torch.randint(300, 400, (2, 9))
    alone = vlm(tokens)
    fired = []
    everything = [(lambda name: True, lambda value, hook: fired.append(hook.name))]
    assert torch.equal(vlm.run_with_hooks(tokens, fwd_hooks=everything), alone)
    assert set(fired) == {name for name in vlm.hook_dict if not name.startswith(("vision.", "projector."))}


@pytest.mark.parametrize("names", [None, lambda name: True], ids=["the default names", "all names"])
def test_reading_leaves_generation_alone(family: HookedVLM, names: Any) -> None:
    inputs = tiny_inputs(family)
    options = dict(max_new_tokens=5, eos_token_id=())
    alone = family.generate(inputs, **options)
    cached = family.generate(inputs, names_filter=names, return_cache=True, **options)
    assert torch.equal(cached.logits, alone.logits)
    with family.hooks(fwd_hooks=[(lambda name: True, READERS["returns nothing"])]):
        assert torch.equal(family.generate(inputs, **options).logits, alone.logits)


@pytest.mark.parametrize("use_cache", [True, False], ids=["cached", "uncached"])
def test_a_generation_caches_what_one_run_of_all_its_tokens_gives(family: HookedVLM, use_cache: bool) -> None:
    inputs = tiny_inputs(family)
    run = family.generate(
        inputs, max_new_tokens=4, eos_token_id=(), names_filter=lambda name: True, use_cache=use_cache
    )
    longer = {
        "input_ids": torch.cat((inputs.input_ids, run.tokens[:, :-1]), dim=1),
        "attention_mask": torch.cat((inputs.attention_mask, torch.ones_like(run.tokens[:, :-1])), dim=1),
        "pixel_values": inputs.pixel_values,
    }
    with torch.no_grad():
        _, whole = family.run_with_cache(longer, names_filter=lambda name: True)
    assert set(run.cache.keys()) == set(whole.keys())
    for name, value in whole.items():
        assert value.shape == run.cache[name].shape, name
        if value.dtype == torch.bool:
            assert torch.equal(run.cache[name], value), name
        else:
            assert distance(run.cache[name], value) <= 1e-5, name


@pytest.mark.parametrize("splits_inputs", [False, True], ids=["shared input", "an input for each head"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_activation_is_what_plain_arithmetic_gives(name: str, splits_inputs: bool) -> None:
    checkpoint = tiny_checkpoint(name)
    vlm = HookedVLM.from_hf(checkpoint)
    inputs = tiny_inputs(vlm)
    expected: dict[str, Tensor] = {}

    def record(name: str, value: Tensor) -> Tensor:
        expected[name] = value
        return value

    with torch.no_grad():
        logits = WrittenOut(checkpoint, record, splits_inputs).logits(inputs)
        ours, cache = vlm.run_with_cache(inputs, names_filter=lambda name: True)
    is_real = inputs.attention_mask.bool()
    assert distance(ours[is_real], logits[is_real]) <= 1e-5
    reserved = ("hook_q_input", "hook_k_input", "hook_v_input", "hook_attn_in")
    if not splits_inputs:
        assert set(expected) == {name for name in vlm.hook_dict if not name.endswith(reserved)}
    else:
        ln1 = (".ln1.hook_scale", ".ln1.hook_normalized")
        assert set(expected) == {name for name in vlm.hook_dict if not name.endswith(ln1)}
    for name, value in expected.items():
        if value.dtype == torch.bool:
            assert torch.equal(cache[name], value), name
        else:
            assert distance(cache[name], value) <= 1e-5, name
