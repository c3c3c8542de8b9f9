"""The exported models, loaded as any user of transformers would, and asked in batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    CLIPModel,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerBase,
)

from vlm_lens.demo.scenes import Scene
from vlm_lens.demo.training.encoded_turns import prompt_of

BATCH_SIZE = 50
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class LoadedModels:
    """Both models in single precision with what prepares their inputs."""

    vlm: LlavaForConditionalGeneration
    processor: LlavaProcessor
    clip: CLIPModel
    clip_tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True)
class Question:
    """A question about a scene, with the answer's prefix and the answer."""

    scene: Scene
    text: str
    answer_prefix: str
    answer: str


def load(folder: Path, device: str = "cpu") -> LoadedModels:
    """Loads `vlm/` and `clip/` of a folder."""
    vlm_folder, clip_folder = folder / "vlm", folder / "clip"
    return LoadedModels(
        LlavaForConditionalGeneration.from_pretrained(vlm_folder, dtype=torch.float32).eval().to(device),
        AutoProcessor.from_pretrained(vlm_folder),
        CLIPModel.from_pretrained(clip_folder, dtype=torch.float32).eval().to(device),
        AutoTokenizer.from_pretrained(clip_folder),
    )


def batches(items: Sequence[Item], size: int = BATCH_SIZE) -> Iterator[Sequence[Item]]:
    """Consecutive pieces of a sequence."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def inputs_of(models: LoadedModels, questions: Sequence[Question]) -> Mapping[str, Tensor]:
    """What the processor makes of the questions, padded on the left."""
    return models.processor(
        images=[Image.fromarray(question.scene.image) for question in questions],
        text=[prompt_of(question.text, question.answer_prefix) for question in questions],
        padding=True,
        return_tensors="pt",
    ).to(models.vlm.device)


def token_of(models: LoadedModels, word: str) -> int:
    """The one token of a word behind a space."""
    return models.processor.tokenizer.convert_tokens_to_ids(f"▁{word}")


@torch.inference_mode()
def answer_logits(models: LoadedModels, questions: Sequence[Question]) -> Float[Tensor, "question d_vocab"]:
    """Logits of the answer's first token."""
    logits = [models.vlm(**inputs_of(models, batch), logits_to_keep=1).logits[:, -1] for batch in batches(questions)]
    return torch.cat(logits)


def n_right(models: LoadedModels, questions: Sequence[Question]) -> int:
    """How often the most likely next token is the answer."""
    wanted = torch.tensor([token_of(models, question.answer) for question in questions])
    chosen = answer_logits(models, questions).argmax(-1).cpu()
    return int((chosen == wanted).sum())
