"""Small real processors of transformers, made without a network."""

from functools import cache

import numpy as np
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

from vlm_lens.layout import PatchGrid

SPECIAL = ["<unk>", "<s>", "</s>", "<image>", "<pad>", "<|user|>", "<|end|>", "<|assistant|>"]
CORPUS = [
    "USER: Describe this image. ASSISTANT: It is a cat",
    "A chat between a curious human and an artificial intelligence assistant.",
    "Is there a cat or a category in this image? Yes, no.",
    "the quick brown fox jumps over the lazy dog 0123456789 : ; , . ! ? ' - < > | / [ ] ( )",
] * 3

PATCH = 7
SIDE = 28
GRID = PatchGrid(4, 4, PATCH, PATCH)

LLAVA_CHAT = (
    "{% for message in messages %}{{ message['role'].upper() }}: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
PHI_CHAT = (
    "{{ '<|system|>\\nBe brief.<|end|>\\n' }}{% for message in messages %}<|{{ message['role'] }}|>\n"
    "{{ message['content'] }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@cache
def sentencepiece_like() -> Tokenizer:
    """A BPE with the habits of LLaMA's: a space before words as part of them, bytes for the rest."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=[*[AddedToken(token, special=True, normalized=False) for token in SPECIAL], *bytes_],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


@cache
def byte_level() -> Tokenizer:
    """A BPE with the habits of GPT-2's and Qwen2's, without a BOS token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def tokenizer_of(kind: str = "sentencepiece") -> PreTrainedTokenizerFast:
    names = dict(eos_token="</s>", pad_token="<pad>")
    if kind == "byte level":
        return PreTrainedTokenizerFast(tokenizer_object=byte_level(), **names)
    return PreTrainedTokenizerFast(tokenizer_object=sentencepiece_like(), bos_token="<s>", unk_token="<unk>", **names)


def processor_of(kind: str = "sentencepiece", chat_template: str | None = None) -> LlavaProcessor:
    return LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        tokenizer_of(kind),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template,
    )


def grid_for(size: tuple[int, int]) -> PatchGrid:
    return PatchGrid.over(*size, PATCH)


def picture(height: int = 40, width: int = 60, seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
