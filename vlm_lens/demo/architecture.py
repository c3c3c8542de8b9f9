"""The demo model's sizes: a CLIP model, and a LLaVA that reads its vision tower.

Both are plain `transformers` classes. The vision tower turns 96 x 96 pixels into 12 x 12 patches; the decoder
is a LLaMA with grouped-query attention.
"""

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from vlm_lens.demo.tokenizer import IMAGE

IMAGE_SIZE, PATCH_SIZE = 96, 8
GRID_SIZE = IMAGE_SIZE // PATCH_SIZE
N_PATCHES = GRID_SIZE**2
FEATURE_LAYER = -2
MAX_TEXT_LENGTH = 48

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] + ' ' }}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' ' }}{% endfor %}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""LLaVA-1.5's: the picture first, then `USER: <image>\\n{question} ASSISTANT:`."""


def vision_config() -> CLIPVisionConfig:
    """The tower that both models share: 6 layers of width 128."""
    return CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
        projection_dim=128,
    )


def clip_config(tokenizer: PreTrainedTokenizerFast) -> CLIPConfig:
    """The contrastive model: the tower, a small causal text tower, two projections."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=MAX_TEXT_LENGTH,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-5,
        projection_dim=128,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPConfig(text_config=text.to_dict(), vision_config=vision_config().to_dict(), projection_dim=128)


def llava_config(tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    """The vision-language model: the same tower, a two-layer projector, a LLaMA of 6 layers of width 192."""
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        rms_norm_eps=1e-5,
        initializer_range=0.05,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlavaConfig(
        text_config=text.to_dict(),
        vision_config=vision_config().to_dict(),
        image_token_index=tokenizer.get_vocab()[IMAGE],
        image_seq_length=N_PATCHES,
        projector_hidden_act="gelu",
        vision_feature_layer=FEATURE_LAYER,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )


def new_clip(tokenizer: PreTrainedTokenizerFast, seed: int) -> CLIPModel:
    """A CLIP model with fresh weights."""
    torch.manual_seed(seed)
    return CLIPModel(clip_config(tokenizer))


def new_llava(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlavaForConditionalGeneration:
    """A LLaVA with fresh weights, its tower included; `copy_tower` gives it a trained one."""
    torch.manual_seed(seed)
    return LlavaForConditionalGeneration(llava_config(tokenizer))


def copy_tower(clip: CLIPModel, llava: LlavaForConditionalGeneration) -> None:
    """Puts the contrastive model's vision tower into the LLaVA, and freezes it there."""
    tower = llava.model.vision_tower
    tower.load_state_dict(clip.vision_model.state_dict())
    tower.requires_grad_(False)


def image_processor() -> CLIPImageProcessorPil:
    """CLIP's preprocessing at the tower's size, on PIL alone."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Pictures and prompts to model inputs; `<image>` becomes one token a patch."""
    return LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
