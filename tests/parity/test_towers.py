"""Single towers against `transformers`, layer by layer: decoders, vision towers, CLIP's text tower, CLIP as a whole.

The eager copy of a model writes its attention out; its patterns are ours up to rounding (<= 1e-5), since
ours are computed beside the fused kernel from the fused run's own activations.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    CLIPTextModel,
    CLIPVisionModel,
    LlamaForCausalLM,
    MistralForCausalLM,
    Qwen2ForCausalLM,
    SiglipVisionModel,
)

from tests.tiny_models import (
    D_VOCAB,
    IMAGE,
    PAD_TOKEN,
    SPECIAL,
    clip_config,
    clip_vision,
    filled,
    llama,
    mistral,
    new_clip,
    position_ids,
    qwen2,
    random_pixels,
    real,
    siglip_vision,
    tiny_inputs,
    tiny_llava,
)
from vlm_lens import HookedCLIP, HookedTransformer, HookedVLM

TOLERANCE = 1e-5

DECODERS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaForCausalLM(llama()),
    "llama, head size of its own": lambda: LlamaForCausalLM(llama(head_dim=20)),
    "mistral, window shorter than the prompt": lambda: MistralForCausalLM(mistral()),
    "qwen2": lambda: Qwen2ForCausalLM(qwen2()),
}
VISION_TOWERS: dict[str, Callable[[], Any]] = {
    "clip": lambda: CLIPVisionModel(clip_vision()),
    "siglip": lambda: SiglipVisionModel(siglip_vision(vision_use_head=False)),
}
TEXT_TOWERS: dict[str, Callable[[], Any]] = {"clip text": lambda: CLIPTextModel(clip_config().text_config)}
TOWERS = DECODERS | VISION_TOWERS | TEXT_TOWERS

MASK = torch.tensor([[1] * 12, [0] * 3 + [1] * 9])


@cache
def checkpoint(tower: str) -> Any:
    return filled(TOWERS[tower]())


@cache
def eager_copy(tower: str) -> Any:
    copy = deepcopy(checkpoint(tower))
    copy.set_attn_implementation("eager")
    return copy


def random_tokens(n_rows: int = 2, length: int = 12) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(len(SPECIAL), D_VOCAB, (n_rows, length), generator=random)


def is_decoder(tower: str) -> bool:
    return tower in DECODERS


def theirs(model: Any, tower: str) -> Any:
    """The model's own output on a batch; decoders with left padding."""
    if tower in VISION_TOWERS:
        arguments: dict[str, Any] = {"pixel_values": random_pixels(2)}
    elif is_decoder(tower):
        arguments = {"input_ids": random_tokens(), "attention_mask": MASK, "position_ids": position_ids(MASK)}
    else:
        arguments = {"input_ids": random_tokens()}
    is_eager = model.config._attn_implementation == "eager"
    with torch.no_grad():
        return model(**arguments, output_hidden_states=True, output_attentions=is_eager)


@cache
def ours(tower: str) -> tuple[Tensor, Any]:
    model = HookedTransformer.from_hf(checkpoint(tower))
    given = random_pixels(2) if tower in VISION_TOWERS else random_tokens()
    options = {"attention_mask": MASK} if is_decoder(tower) else {}
    with torch.no_grad():
        return model.run_with_cache(given, **options)


def at_real(values: Tensor, tower: str) -> Tensor:
    return real(values, MASK) if is_decoder(tower) else values


@pytest.mark.parametrize("tower", TOWERS)
def test_the_stream_after_every_block_is_the_hidden_state(tower: str) -> None:
    """To the bit: both run the same operations."""
    _, activations = ours(tower)
    states = theirs(checkpoint(tower), tower).hidden_states
    n_layers = checkpoint(tower).config.num_hidden_layers
    assert len(states) == n_layers + 1
    assert torch.equal(at_real(activations["resid_pre", 0], tower), at_real(states[0], tower))
    last = n_layers - 1 if is_decoder(tower) else n_layers  # a decoder's last state has the final norm on it
    for layer in range(last):
        assert torch.equal(at_real(activations["resid_post", layer], tower), at_real(states[layer + 1], tower))
    if is_decoder(tower):
        normed = activations["unembed.hook_in"]
        assert torch.equal(at_real(normed, tower), at_real(states[-1], tower))


@pytest.mark.parametrize("tower", TOWERS)
def test_what_a_tower_gives_is_what_transformers_gives(tower: str) -> None:
    result, _ = ours(tower)
    output = theirs(checkpoint(tower), tower)
    if is_decoder(tower):
        assert torch.equal(at_real(result, tower), at_real(output.logits, tower))
    elif tower == "clip":  # its last_hidden_state is the stream; the post-norm is taken of the class token alone
        assert (result[:, 0] - output.pooler_output).abs().max() <= TOLERANCE
    else:
        assert torch.equal(result, output.last_hidden_state)


@pytest.mark.parametrize("tower", TOWERS)
def test_patterns_are_the_attentions_of_an_eager_copy(tower: str) -> None:
    _, activations = ours(tower)
    attentions = theirs(eager_copy(tower), tower).attentions
    assert len(attentions) == checkpoint(tower).config.num_hidden_layers
    for layer, expected in enumerate(attentions):
        pattern = activations["pattern", layer]
        assert pattern.shape == expected.shape
        if is_decoder(tower):  # a padding query: rows of zeros here, whatever the mask's fill gives there
            queries = MASK.bool()[:, None, :].expand(pattern.shape[:3])
            pattern, expected = pattern[queries], expected[queries]
        assert (pattern - expected).abs().max() <= TOLERANCE
        assert pattern.max(dim=-1).values.mean() > 1.5 * pattern.mean(), "an even pattern would prove little"


@pytest.mark.parametrize("tower", DECODERS)
def test_the_causal_loss_is_that_of_transformers(tower: str) -> None:
    tokens = random_tokens()
    with torch.no_grad():
        expected = checkpoint(tower)(input_ids=tokens, labels=tokens).loss
        found = HookedTransformer.from_hf(checkpoint(tower))(tokens, return_type="loss")
    assert abs(found - expected) <= TOLERANCE * expected


@pytest.mark.parametrize("variant", ["llama", "class token kept", "features of several layers", "siglip"])
def test_a_tower_alone_equals_the_joined_tower(variant: str) -> None:
    """To the bit; joined, the blocks behind the features run because they are looked at."""
    model = tiny_llava(variant)
    inputs = tiny_inputs(model, [(4, IMAGE, 5), (3, IMAGE, IMAGE, 2)])
    with torch.no_grad():
        _, joined = HookedVLM.from_hf(model).run_with_cache(inputs)
        _, alone = HookedTransformer.from_hf(model.model.vision_tower).run_with_cache(inputs["pixel_values"])
    assert set(alone.keys()) == set(joined.vision.keys())
    for name, value in alone.items():
        assert torch.equal(value, joined.vision[name]), name


@pytest.mark.parametrize("variant", ["llama", "siglip"])
def test_features_are_those_that_transformers_projects(variant: str) -> None:
    model = tiny_llava(variant)
    pixels = random_pixels(2)
    with torch.no_grad():
        expected = model.get_image_features(pixel_values=pixels).pooler_output
        found = HookedVLM.from_hf(model).encode_images(pixels)
    assert torch.equal(found, torch.stack(tuple(expected)))


# CLIP: the first checkpoints name 2 as their end token and mean the highest id; later ones name the token itself.
END_TOKENS = {"the highest id ends a text": 2, "the named token ends a text": 7}


def clip_inputs(end_token: int) -> dict[str, Tensor]:
    """Two texts of other lengths, padded on the right as CLIP's tokenizer does, and three pictures."""
    tokens = random_tokens(2, 10).clamp(max=D_VOCAB - 2)
    end = D_VOCAB - 1 if end_token == 2 else end_token
    mask = torch.ones_like(tokens)
    tokens[0, 9], tokens[1, 5] = end, end
    tokens[1, 6:], mask[1, 6:] = PAD_TOKEN, 0
    return {"input_ids": tokens, "attention_mask": mask, "pixel_values": random_pixels(3)}


@pytest.mark.parametrize("end_token", END_TOKENS.values(), ids=END_TOKENS)
def test_clip_is_that_of_transformers(end_token: int) -> None:
    model, inputs = new_clip(end_token), clip_inputs(end_token)
    clip = HookedCLIP.from_hf(model)
    with torch.no_grad():
        expected = model(**inputs)
        images = clip.encode_image(inputs["pixel_values"])
        texts = clip.encode_text(inputs["input_ids"], inputs["attention_mask"])
        similarity = clip(inputs)
    for vectors, there in ((images, expected.image_embeds), (texts, expected.text_embeds)):
        assert (torch.nn.functional.normalize(vectors, dim=-1) - there).abs().max() <= TOLERANCE
    scale = expected.logits_per_image.abs().max()
    assert (similarity - expected.logits_per_image).abs().max() <= TOLERANCE * scale
    assert (similarity.T - expected.logits_per_text).abs().max() <= TOLERANCE * scale
    assert similarity.std() > 0.05 * scale, "similarities that hardly vary would prove little"


@pytest.mark.parametrize("end_token", END_TOKENS.values(), ids=END_TOKENS)
def test_unscaled_clip_vectors_are_the_projected_features(end_token: int) -> None:
    model, inputs = new_clip(end_token), clip_inputs(end_token)
    clip = HookedCLIP.from_hf(model)
    with torch.no_grad():
        image_vectors = model.get_image_features(pixel_values=inputs["pixel_values"]).pooler_output
        tokens = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        text_vectors = model.get_text_features(**tokens).pooler_output
        _, saved = clip.run_with_cache(inputs)
    assert (saved["hook_image_embed"] - image_vectors).abs().max() <= TOLERANCE * image_vectors.abs().max()
    assert (saved["hook_text_embed"] - text_vectors).abs().max() <= TOLERANCE * text_vectors.abs().max()


@pytest.mark.parametrize("end_token", END_TOKENS.values(), ids=END_TOKENS)
def test_a_padded_text_has_the_vector_of_the_text_alone(end_token: int) -> None:
    clip, inputs = HookedCLIP.from_hf(new_clip(end_token)), clip_inputs(end_token)
    with torch.no_grad():
        batch = clip.encode_text(inputs["input_ids"], inputs["attention_mask"])
        alone = clip.encode_text(inputs["input_ids"][1:, :6])
    assert (batch[1] - alone[0]).abs().max() <= TOLERANCE * alone.abs().max()


def test_looking_into_clip_moves_no_similarity() -> None:
    clip, inputs = HookedCLIP.from_hf(new_clip()), clip_inputs(2)
    with torch.no_grad():
        plain = clip(inputs)
        looked_into, saved = clip.run_with_cache(inputs, names_filter=lambda name: True)
    assert set(saved) == set(clip.hook_dict)
    assert torch.equal(plain, looked_into)
