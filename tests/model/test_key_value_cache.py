"""Keys and values kept between passes: any way of cutting a sequence into passes gives the same logits."""

import pytest
import torch

from vlm_lens import HookedVLM
from vlm_lens.errors import InputError
from vlm_lens.inputs import Inputs
from vlm_lens.model.key_value_cache import KeyValueCache

N_TEXT = 12


@pytest.fixture
def tokens(vlm: HookedVLM) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(300, vlm.cfg.d_vocab, (2, N_TEXT), generator=generator)


@pytest.mark.parametrize("cuts", [(5, 12), (1, 2, 3, 12), (4, 9, 10, 12)])
def test_a_sequence_in_passes_gives_the_logits_of_one_pass(
    vlm: HookedVLM, tokens: torch.Tensor, cuts: tuple[int, ...]
) -> None:
    with torch.no_grad():
        whole = vlm(tokens)
        past, parts, start = KeyValueCache(vlm.cfg.n_layers, 2), [], 0
        for stop in cuts:
            parts.append(vlm(tokens[:, start:stop], past=past))
            start = stop
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-5 * float(whole.abs().max()))


def test_padding_that_first_comes_in_a_later_pass_joins_what_is_held(vlm: HookedVLM, tokens: torch.Tensor) -> None:
    mask = torch.ones_like(tokens)
    mask[1, 7] = 0
    with torch.no_grad():
        whole = vlm(tokens, attention_mask=mask)
        past = KeyValueCache(vlm.cfg.n_layers, N_TEXT)
        first = vlm(tokens[:, :5], past=past)
        second = vlm(tokens[:, 5:], past=past, attention_mask=mask[:, 5:])
    is_real = mask.bool()
    joined = torch.cat((first, second), dim=1)
    torch.testing.assert_close(joined[is_real], whole[is_real], rtol=0, atol=1e-5 * float(whole.abs().max()))


def test_a_pass_that_fails_leaves_the_cache_as_it_was(vlm: HookedVLM, tokens: torch.Tensor) -> None:
    past = KeyValueCache(vlm.cfg.n_layers, N_TEXT)

    def fail(value, hook):
        raise KeyboardInterrupt

    with torch.no_grad():
        vlm(tokens[:, :5], past=past)
        with pytest.raises(KeyboardInterrupt):
            vlm.run_with_hooks(tokens[:, 5:], past=past, fwd_hooks=[("blocks.1.hook_resid_mid", fail)])
        assert past.n_positions == 5
        rest = vlm(tokens[:, 5:], past=past)
        whole = vlm(tokens)
    torch.testing.assert_close(rest, whole[:, 5:], rtol=0, atol=1e-5 * float(whole.abs().max()))


def test_part_of_the_layers_cannot_extend_it(vlm: HookedVLM, tokens: torch.Tensor) -> None:
    with pytest.raises(InputError, match="every layer"):
        vlm(tokens, past=KeyValueCache(vlm.cfg.n_layers, N_TEXT), stop_at_layer=1)


def test_the_bytes_it_holds_are_those_of_keys_and_values(vlm: HookedVLM, inputs: Inputs) -> None:
    past = KeyValueCache(vlm.cfg.n_layers, 64)
    with torch.no_grad():
        vlm(inputs, past=past)
    n_values = 2 * inputs.shape[0] * inputs.shape[1] * vlm.cfg.n_kv * vlm.cfg.d_head * vlm.cfg.n_layers
    assert past.n_bytes == 4 * n_values


def test_held_positions_may_be_dropped_and_new_ones_count_on_from_them(vlm: HookedVLM, tokens: torch.Tensor) -> None:
    """What is dropped is blocked from later positions, which stay where they are; what is held is not written."""
    kept, n_before = [0, 2, 3], 6
    dropped = [position for position in range(n_before) if position not in kept]

    def block(mask, hook):
        mask[:, :, n_before:, dropped] = False
        return mask

    row = tokens[:1]
    with torch.no_grad():
        past = KeyValueCache(vlm.cfg.n_layers, n_before)
        vlm(row[:, :n_before], past=past)
        layers = [(one.keys[:, :, kept], one.values[:, :, kept]) for one in past.layers]
        before = [(keys.clone(), values.clone()) for keys, values in layers]
        cut = KeyValueCache.holding(layers, n_before - len(kept))
        assert (cut.n_positions, cut.n_dropped, cut.next_position) == (3, 3, n_before)
        together = torch.cat((row[:, n_before:], tokens[1:, n_before:]))  # one row is held for both
        rest = vlm(together, past=cut)
        whole = vlm.run_with_hooks(
            torch.cat((row[:, :n_before].expand(2, -1), together), dim=1),
            fwd_hooks=[(lambda name: name.startswith("blocks.") and name.endswith("hook_mask"), block)],
        )[:, n_before:]
    torch.testing.assert_close(rest, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))
    assert all(map(torch.equal, sum(before, ()), sum(layers, ())))


def test_dropped_positions_take_up_the_context(vlm: HookedVLM, tokens: torch.Tensor) -> None:
    empty = torch.zeros(1, vlm.cfg.n_kv, 1, vlm.cfg.d_head)
    past = KeyValueCache.holding([(empty, empty)] * vlm.cfg.n_layers, vlm.cfg.n_ctx - N_TEXT)
    with pytest.raises(InputError, match="Prompt is longer than the context"):
        vlm(tokens[:1], past=past)
