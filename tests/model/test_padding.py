"""Padding, batch and entering midway make no difference; loss counts what was predicted."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import FAMILIES, padded_on_the_right, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.model.written_out import distance
from vlm_lens import HookedTransformer, HookedVLM
from vlm_lens.errors import InputError


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> HookedVLM:
    return tiny_vlm(request.param)


def test_a_padded_row_equals_the_row_alone(family: HookedVLM) -> None:
    inputs = tiny_inputs(family)
    is_real = inputs.attention_mask.bool()
    assert not is_real[1].all()
    with torch.no_grad():
        logits, cache = family.run_with_cache(inputs)
        for row in range(2):
            alone, cache_alone = family.run_with_cache(inputs.row(row))
            assert distance(logits[row, is_real[row]], alone[0]) <= 1e-5
            for name in ("blocks.1.attn.hook_rot_k", "blocks.1.hook_resid_post", "blocks.0.attn.hook_z"):
                assert distance(cache[name][row, is_real[row]], cache_alone[name][0]) <= 1e-5
            pattern = cache["pattern", 1][row][:, is_real[row]][:, :, is_real[row]]
            assert distance(pattern, cache_alone["pattern", 1][0]) <= 1e-5


def test_padding_has_no_weight_and_is_finite(family: HookedVLM) -> None:
    inputs = tiny_inputs(family)
    with torch.no_grad():
        logits, cache = family.run_with_cache(inputs)
    is_padding = ~inputs.attention_mask.bool()
    assert torch.isfinite(logits).all()
    assert cache["pattern", 0].permute(0, 3, 1, 2)[is_padding].abs().max() == 0
    assert cache["pattern", 0].permute(0, 2, 1, 3)[is_padding].abs().max() == 0


def test_padding_may_stand_on_the_right(family: HookedVLM) -> None:
    inputs = tiny_inputs(family)
    right = padded_on_the_right(inputs)
    with torch.no_grad():
        on_the_left, on_the_right = family(inputs), family(right)
    for row in range(2):
        left_row = on_the_left[row, inputs.attention_mask[row].bool()]
        assert distance(on_the_right[row, right["attention_mask"][row].bool()], left_row) <= 1e-5


def test_what_padding_holds_moves_nothing(family: HookedVLM) -> None:
    inputs = tiny_inputs(family)
    is_real = inputs.attention_mask.bool()
    other = family.as_inputs({**inputs, "input_ids": inputs.input_ids.masked_fill(~is_real, 333)})
    with torch.no_grad():
        assert torch.equal(family(other)[is_real], family(inputs)[is_real])


def test_tokens_take_an_attention_mask(family: HookedVLM) -> None:
    tokens = torch.randint(300, 500, (1, 6))
    padded = torch.cat((torch.zeros(1, 2, dtype=torch.long), tokens), dim=1)
    with torch.no_grad():
        logits = family(padded, attention_mask=torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1]]))
        assert distance(logits[:, 2:], family(tokens)) <= 1e-5


def loss_by_hand(logits: Tensor, inputs: Any, image_token: int) -> Tensor:
    """Each row's losses where both a token and the one it follows are real, and it is no image token."""
    losses = torch.zeros(logits.shape[0], logits.shape[1] - 1)
    for row in range(logits.shape[0]):
        for position in range(1, logits.shape[1]):
            token = int(inputs["input_ids"][row, position])
            is_real = inputs["attention_mask"][row, position - 1 : position + 1].all()
            if is_real and token != image_token:
                losses[row, position - 1] = -torch.log_softmax(logits[row, position - 1], dim=-1)[token]
    return losses


@pytest.mark.parametrize("side", ["left", "right"])
def test_loss_counts_neither_padding_nor_image_tokens(vlm: HookedVLM, side: str) -> None:
    inputs: Any = tiny_inputs(vlm)
    inputs = inputs if side == "left" else padded_on_the_right(inputs)
    with torch.no_grad():
        logits, loss = vlm(inputs, return_type="both")
        each = vlm(inputs, return_type="loss", loss_per_token=True)
    expected = loss_by_hand(logits, inputs, vlm.image_token_id)
    assert distance(each, expected) <= 1e-5
    assert (expected != 0).sum() == (1 + 6) + 4  # no row predicts the first token
    assert distance(loss, expected.sum() / (expected != 0).sum()) <= 1e-5


def test_the_loss_of_a_padded_row_is_that_of_the_row_alone(vlm: HookedVLM, inputs: Any) -> None:
    with torch.no_grad():
        each = vlm(inputs, return_type="loss", loss_per_token=True)[1]
        alone = vlm(inputs.row(1), return_type="loss", loss_per_token=True)[0]
    n_padding = len(each) - len(alone)
    assert each[:n_padding].abs().max() == 0
    assert distance(each[n_padding:], alone) <= 1e-5


@pytest.mark.parametrize("return_type", ["logits", "loss", None])
def test_loss_of_plain_tokens_counts_all_but_the_first(vlm: HookedVLM, return_type: Any) -> None:
    tokens = torch.randint(300, 500, (2, 5))
    with torch.no_grad():
        logits, given = vlm(tokens), vlm(tokens, return_type=return_type)
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    if return_type == "loss":
        assert distance(given, expected) <= 1e-5
    else:
        assert given is None if return_type is None else torch.equal(given, logits)


@pytest.mark.parametrize("layer", [0, 1, 2, -1])
def test_a_run_in_two_parts_is_the_run(family: HookedVLM, layer: int) -> None:
    with torch.no_grad():
        for is_padded in (True, False):
            inputs = tiny_inputs(family, is_padded)
            stream = family(inputs, stop_at_layer=layer)
            again = family(stream, start_at_layer=layer, attention_mask=inputs.attention_mask)
            assert torch.equal(again, family(inputs))
        tokens = torch.randint(300, 500, (2, 8))
        stream = family(tokens, stop_at_layer=layer)
        assert torch.equal(family(stream, start_at_layer=layer), family(tokens))


def test_a_part_runs_only_its_own_blocks(vlm: HookedVLM, inputs: Any) -> None:
    fired: list[str] = []
    everything = [(lambda name: True, lambda value, hook: fired.append(hook.name))]
    stream = vlm.run_with_hooks(inputs, fwd_hooks=everything, stop_at_layer=1)
    assert "vision.hook_embed" in fired and "blocks.0.hook_resid_post" in fired
    assert not any(name.startswith(("blocks.1.", "ln_final.", "unembed.")) for name in fired)
    fired.clear()
    vlm.run_with_hooks(stream, fwd_hooks=everything, start_at_layer=1, attention_mask=inputs.attention_mask)
    assert {name.split(".")[0] for name in fired} == {"blocks", "ln_final", "unembed"}
    assert not any(name.startswith("blocks.0.") for name in fired)


def test_inputs_can_enter_at_a_later_block(vlm: HookedVLM, inputs: Any) -> None:
    with torch.no_grad():
        embedded = vlm(inputs, stop_at_layer=0)
        expected = vlm(embedded, start_at_layer=1, attention_mask=inputs.attention_mask)
        assert torch.equal(vlm(inputs, start_at_layer=1), expected)


def test_the_vision_tower_alone_is_the_vision_tower_of_the_whole(vlm: HookedVLM, inputs: Any) -> None:
    tower = HookedTransformer.from_hf(tiny_checkpoint().model.vision_tower)
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs)
        _, alone = tower.run_with_cache(inputs.pixel_values)
    assert set(alone) == set(cache.vision)
    for name, value in alone.items():
        assert torch.equal(cache.vision[name], value), name


def test_an_image_in_another_place_of_the_batch_is_the_same_image(vlm: HookedVLM, inputs: Any) -> None:
    with torch.no_grad():
        both = vlm.encode_images(inputs.pixel_values)
        assert distance(vlm.encode_images(inputs.pixel_values[1:]), both[1:]) <= 1e-5


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (torch.zeros(1, 3, dtype=torch.long), {"start_at_layer": 1}),
        (torch.zeros(3, 24), {"start_at_layer": 1}),
        (3.5, {}),
    ],
    ids=["tokens midway", "a stream without batch", "a number"],
)
def test_what_cannot_enter_is_refused(vlm: HookedVLM, given: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Input of the transformer"):
        vlm(given, **options)


def test_a_stream_has_no_loss(vlm: HookedVLM, inputs: Any) -> None:
    stream = vlm(inputs, stop_at_layer=1)
    with pytest.raises(InputError, match="Loss has no targets"):
        vlm(stream, start_at_layer=1, return_type="loss")
