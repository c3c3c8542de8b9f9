"""Writing a hook acts, for every name, in every way of writing, and as plain arithmetic says."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import FAMILIES, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.model.written_out import WrittenOut, distance
from vlm_lens import HookedVLM
from vlm_lens.errors import HookError

OWN_INPUTS = ("hook_q_input", "hook_k_input", "hook_v_input", "hook_attn_in")


def edited(value: Tensor) -> Tensor:
    """Another value of the same kind: some edges fewer in a mask, other finite numbers elsewhere."""
    if value.dtype == torch.bool:
        query, key = torch.meshgrid(*(torch.arange(n) for n in value.shape[-2:]), indexing="ij")
        return value & (((query + key) % 3 == 0) | (query == key))
    wave = torch.sin(torch.arange(value.numel(), dtype=value.dtype)).view_as(value)
    return torch.where(torch.isinf(value), value, value * (0.8 + 0.2 * wave) + 0.05 * wave)


def write_in_place(value: Tensor, hook: Any) -> Tensor:
    return value.copy_(edited(value))


def write_through_data(value: Tensor, hook: Any) -> None:
    value.data.copy_(edited(value.data))


WRITERS: dict[str, Callable[..., Tensor | None]] = {
    "returned": lambda value, hook: edited(value),
    "in place": write_in_place,
    "through data": write_through_data,
}


def names_behind(vlm: HookedVLM) -> set[str]:
    return {point.name for point in vlm.behind_features if point.name is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_write_gives_the_logits_of_plain_arithmetic(family: str) -> None:
    checkpoint, vlm = tiny_checkpoint(family), tiny_vlm(family)
    inputs = tiny_inputs(vlm)
    is_real = inputs.attention_mask.bool()
    wrong = {}
    with torch.no_grad():
        for name in vlm.hook_dict:
            if family != FAMILIES[0] and not name.startswith("blocks.0."):
                continue  # the families differ in their decoder's layers

            def write(seen: str, value: Tensor, written: str = name) -> Tensor:
                return edited(value) if seen == written else value

            expected = WrittenOut(checkpoint, write, splits_inputs=name.endswith(OWN_INPUTS)).logits(inputs)
            ours = vlm.run_with_hooks(inputs, fwd_hooks=[(name, WRITERS["returned"])])
            off = distance(ours[is_real], expected[is_real])
            if off > 1e-5:
                wrong[name] = off
    assert wrong == {}


def test_every_write_changes_the_logits_unless_it_is_behind_the_features(vlm: HookedVLM, inputs: Any) -> None:
    is_real = inputs.attention_mask.bool()
    behind = names_behind(vlm)
    assert behind and behind < set(vlm.hook_dict)
    with torch.no_grad():
        alone = vlm(inputs)
        for name in vlm.hook_dict:
            fired: list[str] = []

            def note(value: Tensor, hook: Any, fired: list[str] = fired) -> None:
                fired.append(hook.name)

            written = [vlm.run_with_hooks(inputs, fwd_hooks=[(name, note), (name, w)]) for w in WRITERS.values()]
            assert fired == [name] * len(WRITERS)
            assert torch.isfinite(written[0][is_real]).all(), name
            assert torch.equal(written[0][is_real], alone[is_real]) == (name in behind), name
            assert all(torch.equal(one, written[0]) for one in written), name


def test_what_is_behind_the_features_is_the_last_block_and_the_post_norm(vlm: HookedVLM) -> None:
    last = ("vision.blocks.2.", "vision.ln_final.")
    assert names_behind(vlm) == {name for name in vlm.hook_dict if name.startswith(last)}


def test_writing_the_same_value_changes_nothing(vlm: HookedVLM, inputs: Any) -> None:
    with torch.no_grad():
        alone = vlm(inputs)
        for name in vlm.hook_dict:
            assert torch.equal(vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda v, hook: v.clone())]), alone), name
            assert torch.equal(
                vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda v, hook: v.copy_(v.clone()))]), alone
            ), name


def test_in_place_writes_act_with_autograd_on(vlm: HookedVLM, inputs: Any) -> None:
    for name in (
        "vision.hook_embed",
        "blocks.0.hook_resid_pre",
        "blocks.1.attn.hook_pattern",
        "blocks.0.ln1.hook_scale",
    ):
        kept = vlm.run_with_hooks(inputs, fwd_hooks=[(name, write_in_place)])
        with torch.no_grad():
            expected = vlm.run_with_hooks(inputs, fwd_hooks=[(name, WRITERS["returned"])])
        assert torch.equal(kept.detach(), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_written_path_without_a_change_is_the_fused_one_up_to_rounding(family: str) -> None:
    vlm = tiny_vlm(family)
    inputs = tiny_inputs(vlm)
    nudged = [(lambda name: name.endswith("hook_pattern"), lambda pattern, hook: pattern * (1 + 2e-7))]
    with torch.no_grad():
        assert distance(vlm.run_with_hooks(inputs, fwd_hooks=nudged), vlm(inputs)) <= 1e-5


def test_readers_before_and_after_a_writer_see_what_stood_there_then(vlm: HookedVLM, inputs: Any) -> None:
    names = ("hook_embed", "blocks.0.attn.hook_pattern", "blocks.0.attn.hook_mask", "blocks.1.ln2.hook_scale",
             "blocks.1.attn.hook_result", "blocks.0.hook_q_input", "vision.blocks.0.attn.hook_z")  # fmt: skip
    for name in names:
        for writer in WRITERS.values():
            before, first, _ = vlm.get_caching_hooks(name)
            after, second, _ = vlm.get_caching_hooks(name)
            with torch.no_grad():
                _, clean = vlm.run_with_cache(inputs, names_filter=name)
                vlm.run_with_hooks(inputs, fwd_hooks=[*first, (name, writer), *second])
            assert torch.equal(before[name], clean[name]), name
            assert torch.equal(after[name], edited(clean[name])), name


def test_a_cache_holds_what_a_standing_writer_left(vlm: HookedVLM, inputs: Any) -> None:
    with vlm.hooks(fwd_hooks=[("blocks.0.hook_resid_post", write_in_place)]):
        _, cache = vlm.run_with_cache(inputs)
    _, clean = vlm.run_with_cache(inputs)
    assert torch.equal(cache["resid_post", 0], edited(clean["resid_post", 0]))
    assert torch.equal(cache["resid_pre", 1], cache["resid_post", 0])
    assert torch.equal(cache["mlp_out", 0], clean["mlp_out", 0])


def test_a_later_hook_writes_on_top_of_an_earlier(vlm: HookedVLM, inputs: Any) -> None:
    name = "blocks.0.hook_resid_mid"
    double, shift = (lambda value, hook: value * 2), (lambda value, hook: value.add_(1))
    with torch.no_grad():
        both = vlm.run_with_hooks(inputs, fwd_hooks=[(name, double), (name, shift)])
        once = vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda value, hook: value * 2 + 1)])
        other = vlm.run_with_hooks(inputs, fwd_hooks=[(name, shift), (name, double)])
    assert torch.equal(both, once)
    assert not torch.equal(both, other)


@pytest.mark.parametrize("family", ["grouped heads", "sliding window"])
def test_writes_act_at_every_step_of_a_generation(family: str) -> None:
    vlm = tiny_vlm(family)
    inputs = tiny_inputs(vlm)

    def shrink(value: Tensor, hook: Any) -> Tensor:
        if value.dtype == torch.bool:  # no query sees the key before its own
            query = torch.arange(value.shape[-1] - value.shape[-2], value.shape[-1])[:, None]
            return value & (torch.arange(value.shape[-1]) != query - 1)
        return torch.where(torch.isinf(value), value, 0.7 * value)

    plain = vlm.generate(inputs, max_new_tokens=3, eos_token_id=(), do_sample=True, seed=0)
    names = [name for name in vlm.hook_dict if name.startswith(("blocks.1.", "ln_final.", "unembed.", "projector."))]
    for name in names:
        with vlm.hooks(fwd_hooks=[(name, shrink)]):
            cached, uncached = (
                vlm.generate(inputs, max_new_tokens=3, eos_token_id=(), use_cache=use_cache, do_sample=True, seed=0)
                for use_cache in (True, False)
            )
        assert torch.equal(cached.tokens, uncached.tokens), name
        assert distance(cached.logits, uncached.logits) <= 1e-5, name
        assert not torch.equal(cached.logits, plain.logits), name


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (lambda value, hook: value[:1], "shape"),
        (lambda value, hook: value.flatten(), "shape"),
        (lambda value, hook: "a string", "str"),
        (lambda value, hook: value > 0, "torch.bool"),
    ],
    ids=["a part", "flattened", "no tensor", "booleans"],
)
@pytest.mark.parametrize("name", ["blocks.0.attn.hook_pattern", "vision.hook_embed", "ln_final.hook_scale"])
def test_a_hook_that_returns_something_else_is_refused(
    vlm: HookedVLM, inputs: Any, name: str, answer: Any, got: str
) -> None:
    with pytest.raises(HookError, match=f"Hook on {name}: expected .* got .*{got}"):
        vlm.run_with_hooks(inputs, fwd_hooks=[(name, answer)])


def test_a_hook_on_no_name_is_refused_with_the_nearest(vlm: HookedVLM, inputs: Any) -> None:
    with pytest.raises(HookError, match="Did you mean 'blocks.0.attn.hook_pattern'"):
        vlm.run_with_hooks(inputs, fwd_hooks=[("hook_embed", edited), ("blocks.0.attn.hook_patern", edited)])
    with pytest.raises(HookError, match="accepts none"):
        vlm.run_with_hooks(inputs, fwd_hooks=[(lambda name: False, edited)])
    with pytest.raises(HookError, match="does not exist"):
        vlm.run_with_cache(inputs, names_filter=["blocks.7.hook_resid_post"])


def test_hooks_know_their_layer(vlm: HookedVLM) -> None:
    assert vlm.hook_dict["vision.blocks.2.attn.hook_z"].layer() == 2
    assert vlm.hook_dict["blocks.1.hook_resid_pre"].layer() == 1
    assert vlm.hook_dict["projector.hook_in"].layer() is None
