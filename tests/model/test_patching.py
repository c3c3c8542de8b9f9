"""transformer_lens's own `patching` functions and `get_act_name` work on the decoder, with pictures and without."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformer_lens import patching
from transformer_lens.utilities import get_act_name

from tests.model.tiny_vlms import tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.model.written_out import WrittenOut, distance
from vlm_lens import HookedVLM
from vlm_lens.model.cache import ActivationCache


def metric(logits: Tensor) -> Tensor:
    """A number that every logit of the last position moves."""
    return (logits[:, -1] * torch.sin(torch.arange(logits.shape[-1]))).sum()


class Pair:
    """A clean run, and the corrupted input that it is patched into."""

    def __init__(self, vlm: HookedVLM, clean: Any, corrupted: Any) -> None:
        self.vlm, self.corrupted = vlm, corrupted
        with torch.no_grad():
            self.clean_cache: ActivationCache = vlm.run_with_cache(clean)[1]
            _, self.corrupted_cache = vlm.run_with_cache(corrupted)
            self.unpatched = metric(vlm(corrupted))

    def patched(self, patch: Callable[..., Tensor]) -> Tensor:
        """What a function of `patching` gives."""
        with torch.no_grad():
            return patch(self.vlm, self.corrupted, self.clean_cache, metric)

    def by_hand(self, name: str, key: tuple[Any, ...]) -> Tensor:
        """The metric where a hook returns the corrupted activation with a part of the clean one in it."""

        def write(value: Tensor, hook: Any) -> Tensor:
            value = value.clone()
            value[key] = self.clean_cache[name][key]
            return value

        with torch.no_grad():
            return metric(self.vlm.run_with_hooks(self.corrupted, fwd_hooks=[(name, write)]))


@pytest.fixture(params=["pictures", "tokens"])
def pair(vlm: HookedVLM, request: pytest.FixtureRequest) -> Pair:
    if request.param == "pictures":
        clean, corrupted = tiny_inputs(vlm), tiny_inputs(vlm)
        return Pair(vlm, clean, vlm.as_inputs({**corrupted, "pixel_values": corrupted["pixel_values"].flip(-1) * 2}))
    return Pair(vlm, *torch.randint(300, 500, (2, 2, 7)))


every = slice(None)
STREAM = {"resid_pre": patching.get_act_patch_resid_pre, "resid_mid": patching.get_act_patch_resid_mid,
          "attn_out": patching.get_act_patch_attn_out, "mlp_out": patching.get_act_patch_mlp_out}  # fmt: skip
HEADS = {"z": patching.get_act_patch_attn_head_out_all_pos, "q": patching.get_act_patch_attn_head_q_all_pos,
         "k": patching.get_act_patch_attn_head_k_all_pos, "v": patching.get_act_patch_attn_head_v_all_pos}  # fmt: skip


@pytest.mark.parametrize("name", STREAM)
def test_patching_the_stream_position_by_position(pair: Pair, name: str) -> None:
    patched = pair.patched(STREAM[name])
    n_positions = pair.corrupted.shape[-1]
    assert patched.shape == (2, n_positions)
    for layer in range(2):
        for position in range(n_positions):
            expected = pair.by_hand(f"blocks.{layer}.hook_{name}", (every, position))
            assert torch.equal(patched[layer, position], expected)
    assert (patched - pair.unpatched).abs().max() > 1e-3


@pytest.mark.parametrize("name", HEADS)
def test_patching_heads_at_all_positions(pair: Pair, name: str) -> None:
    patched = pair.patched(HEADS[name])
    assert patched.shape == (2, 2 if name in "kv" else 4)
    for layer in range(2):
        for head in range(patched.shape[1]):
            expected = pair.by_hand(f"blocks.{layer}.attn.hook_{name}", (every, every, head))
            assert torch.equal(patched[layer, head], expected)
    assert (patched - pair.unpatched).abs().max() > 1e-3


def test_patching_patterns(pair: Pair) -> None:
    patched = pair.patched(patching.get_act_patch_attn_head_pattern_all_pos)
    for layer in range(2):
        for head in range(4):
            expected = pair.by_hand(f"blocks.{layer}.attn.hook_pattern", (every, head))
            assert torch.equal(patched[layer, head], expected)
    assert (patched - pair.unpatched).abs().max() > 1e-4


def test_patching_heads_and_patterns_by_position(vlm: HookedVLM) -> None:
    pair = Pair(vlm, *torch.randint(300, 500, (2, 2, 3)))
    by_position = pair.patched(patching.get_act_patch_attn_head_out_by_pos)
    of_pattern = pair.patched(patching.get_act_patch_attn_head_pattern_by_pos)
    of_edge = pair.patched(patching.get_act_patch_attn_head_pattern_dest_src_pos)
    for layer in range(2):
        for position in range(3):
            for head in range(4):
                expected = pair.by_hand(f"blocks.{layer}.attn.hook_z", (every, position, head))
                assert torch.equal(by_position[layer, position, head], expected)
                expected = pair.by_hand(f"blocks.{layer}.attn.hook_pattern", (every, head, position))
                assert torch.equal(of_pattern[layer, head, position], expected)
                expected = pair.by_hand(f"blocks.{layer}.attn.hook_pattern", (every, head, position, 0))
                assert torch.equal(of_edge[layer, head, position, 0], expected)


def test_patching_every_kind_at_once(vlm: HookedVLM) -> None:
    pair = Pair(vlm, *torch.randint(300, 500, (2, 2, 3)))
    blocks = pair.patched(patching.get_act_patch_block_every)
    assert blocks.shape == (3, 2, 3)
    assert torch.equal(blocks[2], pair.patched(patching.get_act_patch_mlp_out))
    heads = pair.patched(patching.get_act_patch_attn_head_all_pos_every)
    assert torch.equal(heads[0], pair.patched(HEADS["z"]))
    assert torch.equal(heads[-1], pair.patched(patching.get_act_patch_attn_head_pattern_all_pos))


def test_patching_keeps_each_row_where_asked(vlm: HookedVLM) -> None:
    pair = Pair(vlm, *torch.randint(300, 500, (2, 2, 3)))
    rows = lambda logits: logits[:, -1, 400]  # noqa: E731
    with torch.no_grad():
        result = patching.get_act_patch_mlp_out(
            vlm, pair.corrupted, pair.clean_cache, rows, reduce="none", baseline=True
        )
        assert torch.equal(result.baseline, rows(vlm(pair.corrupted)))
    assert result.values.shape == (2, 3, 2)


@pytest.mark.parametrize(
    ("family", "component"), [("a key for each head", one) for one in "qkv"] + [("grouped heads", "q")]
)
def test_patching_a_path_from_head_to_head(family: str, component: str) -> None:
    vlm = tiny_vlm(family)
    clean, corrupted = tiny_inputs(vlm, seed=0), tiny_inputs(vlm, seed=1)
    pair = Pair(vlm, clean, corrupted)
    with torch.no_grad():
        patched = patching.get_act_patch_direct_path(
            vlm, corrupted, pair.clean_cache, pair.corrupted_cache, metric, 0, 1, component, verbose=False
        )
        z = "blocks.0.attn.hook_z"
        write = tiny_checkpoint(family).model.language_model.layers[0].self_attn.o_proj.weight[:, 6:12].T
        delta = (pair.clean_cache[z] - pair.corrupted_cache[z])[:, :, 1] @ write
        for head in range(4):

            def add(name: str, value: Tensor, head: int = head) -> Tensor:
                if name == f"blocks.1.hook_{component}_input":
                    value = value.clone()
                    value[:, :, head] += delta
                return value

            expected = metric(WrittenOut(tiny_checkpoint(family), add, splits_inputs=True).logits(corrupted))
            assert distance(patched[1, head], expected) <= 1e-4
    assert (patched[1] - pair.unpatched).abs().min() > 1e-5
    assert not vlm.cfg.use_split_qkv_input


def test_names_of_transformer_lens_are_names_here(vlm: HookedVLM) -> None:
    in_a_layer = ("q", "k", "v", "z", "rot_q", "rot_k", "result", "pattern", "attn_scores", "pre", "post", "pre_linear",
                  "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "mlp_in", "q_input")  # fmt: skip
    names = [get_act_name(name, 1) for name in in_a_layer]
    names += [get_act_name("scale", 1, "ln1"), get_act_name("normalized", 1, "ln2")]
    names += [get_act_name("embed"), get_act_name("scale"), get_act_name("normalized")]
    assert set(names) <= set(vlm.hook_dict)
