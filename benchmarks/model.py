"""One LLaVA with random weights, which every contestant holds in its own way over the same parameters."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from benchmarks.sizes import Sizes

IMAGE_TOKEN = 3


def random_llava(sizes: Sizes) -> LlavaForConditionalGeneration:
    """The model, made on its device in its precision, attention by sdpa; no token ends a generation."""
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=sizes.vision_width,
            intermediate_size=4 * sizes.vision_width,
            num_hidden_layers=sizes.vision_layers,
            num_attention_heads=sizes.vision_width // sizes.vision_d_head,
            image_size=sizes.image_size,
            patch_size=sizes.patch_size,
        ),
        text_config=LlamaConfig(
            hidden_size=sizes.d_model,
            intermediate_size=sizes.d_mlp,
            num_hidden_layers=sizes.decoder_layers,
            num_attention_heads=sizes.d_model // sizes.d_head,
            num_key_value_heads=sizes.d_model // sizes.d_head,
            vocab_size=sizes.vocabulary,
            max_position_embeddings=4096,
            rms_norm_eps=1e-5,
            bos_token_id=None,
            eos_token_id=None,
        ),
        image_token_index=IMAGE_TOKEN,
        architectures=["LlavaForConditionalGeneration"],
    )
    config._attn_implementation = "sdpa"
    with torch.device(sizes.device), default_dtype(getattr(torch, sizes.dtype)):
        model = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # activations keep their size, and attention chooses: a knockout moves the logits
                parameter.normal_(0, parameter[0].numel() ** -0.5)
    model.model.language_model.embed_tokens.weight.data.normal_(0, 1)
    return model.requires_grad_(False)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def random_inputs(sizes: Sizes) -> dict[str, Tensor]:
    """What a processor would return for one picture: some text, the picture, more text."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(IMAGE_TOKEN + 1, sizes.vocabulary, (1, sizes.text_tokens), generator=generator)
    image = torch.full((1, sizes.n_patches), IMAGE_TOKEN)
    pixels = torch.randn(1, 3, sizes.image_size, sizes.image_size, generator=generator)
    input_ids = torch.cat([text[:, : sizes.text_before], image, text[:, sizes.text_before :]], dim=1)
    return {
        "input_ids": input_ids.to(sizes.device),
        "attention_mask": torch.ones_like(input_ids).to(sizes.device),
        "pixel_values": pixels.to(device=sizes.device, dtype=getattr(torch, sizes.dtype)),
    }


def twin(model: nn.Module) -> nn.Module:
    """The same parameters in modules of their own: tools that rewrite modules must not rewrite each other's."""
    shared = {id(one): one for one in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)
