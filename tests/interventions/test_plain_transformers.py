"""The slow way is right where nothing is blocked or edited, and what is blocked or edited counts."""

import pytest
import torch

from tests.interventions.plain_transformers import Plain, edges
from tests.tiny_models import IMAGE, VARIANTS, new_clip, position_ids, random_pixels, real, tiny_inputs, tiny_llava

ROWS = [(2, IMAGE, 6), (1, IMAGE, 4)]


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_attention_written_out_equals_the_checkpoints_own(variant: str) -> None:
    checkpoint = tiny_llava(variant)
    mapping = tiny_inputs(checkpoint, ROWS)
    own = checkpoint(**mapping, position_ids=position_ids(mapping["attention_mask"])).logits
    ours, own = (real(one, mapping["attention_mask"]) for one in (Plain(checkpoint).logits(mapping), own))
    # Softmax and sums run in another order: rounding alone, some 2e-6 of the largest logit.
    assert float((ours - own).abs().max()) <= 1e-5 * float(own.abs().max())
    assert checkpoint.config._attn_implementation != "written_out_for_tests"


@torch.no_grad()
def test_clips_vectors_equal_the_checkpoints_own() -> None:
    clip, pixels = new_clip(), random_pixels(2)
    own = clip.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(Plain(clip).image_embeds(pixels), own, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_blocked_edge_has_no_weight_and_moves_the_logits() -> None:
    checkpoint = tiny_llava()
    plain, mapping = Plain(checkpoint), tiny_inputs(checkpoint, ROWS)
    clean = plain.logits(mapping)
    blocked = plain.logits(mapping, edges("decoder", [1], [2], row=0, queries=[20], keys=[5]))
    assert plain.patterns["decoder", 1][0, 2, 20, 5] == 0 and plain.patterns["decoder", 1][0, 1, 20, 5] > 0
    assert torch.equal(blocked[1], clean[1]) and torch.equal(blocked[0, :20], clean[0, :20])
    assert not torch.equal(blocked[0, 20], clean[0, 20])


@pytest.mark.parametrize(
    "place",
    ["projector", "embed", ("vision", "layer", 1), ("vision", "z", 0), ("decoder", "layer", 0), ("decoder", "z", 1),
     ("decoder", "attn_out", 2), ("decoder", "mlp_out", 1), ("vision", "mlp_out", 1)],
    ids=str,
)  # fmt: skip
@torch.no_grad()
def test_an_edit_is_made_and_gone_afterwards(place: object) -> None:
    checkpoint = tiny_llava()
    plain, mapping = Plain(checkpoint), tiny_inputs(checkpoint, ROWS)
    clean = plain.logits(mapping)
    assert torch.equal(plain.logits(mapping, edits={place: lambda value: value}), clean)
    assert not torch.equal(plain.logits(mapping, edits={place: lambda value: value * 0.5}), clean)
    assert torch.equal(plain.logits(mapping), clean)
