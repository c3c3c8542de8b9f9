"""How often the models are right on held-out scenes."""

import re
from typing import Any

import numpy as np
import torch
from PIL import Image

from vlm_lens.demo.evaluation.held_out import (
    color_questions,
    on_questions,
    presence_questions,
    scenes,
)
from vlm_lens.demo.evaluation.intervals import Figure, f1_of_counts, share
from vlm_lens.demo.evaluation.loaded import (
    LoadedModels,
    Question,
    answer_logits,
    batches,
    inputs_of,
    n_right,
    token_of,
)
from vlm_lens.demo.scenes import KINDS
from vlm_lens.demo.text import DESCRIBE, photo_of

MOST_NEW_TOKENS = 90


def yes_no(models: LoadedModels, n: int) -> Figure:
    """Balanced questions for the presence of a kind: the larger of the two answers' logits."""
    questions = presence_questions(n)
    tokens = [token_of(models, "Yes"), token_of(models, "No")]
    says_yes = answer_logits(models, questions)[:, tokens].argmax(-1).cpu() == 0
    is_yes = torch.tensor([question.answer == "Yes" for question in questions])
    return share(int((says_yes == is_yes).sum()), n)


def what_is_on(models: LoadedModels, n: int) -> Figure:
    """The question "What is on the bed?" with "It is a" given: the most likely of all tokens."""
    return share(n_right(models, on_questions(n)), n)


def what_color(models: LoadedModels, n: int) -> Figure:
    """The question "What color is the cat?" with "It is" given: the most likely of all tokens."""
    return share(n_right(models, color_questions(n)), n)


def kinds_named(description: str) -> set[str]:
    """The kinds that a description names."""
    return set(re.findall(r"[a-z]+", description.lower())) & set(KINDS)


@torch.inference_mode()
def described(models: LoadedModels, n: int) -> tuple[dict[str, Figure], list[str]]:
    """Precision, recall and F1 of the kinds in greedy descriptions, and the descriptions."""
    questions = [Question(scene, DESCRIBE, "", "") for scene in scenes(n)]
    texts: list[str] = []
    vlm: Any = models.vlm  # transformers declares `generate` for another class
    for batch in batches(questions):
        inputs = inputs_of(models, batch)
        tokens = vlm.generate(**inputs, max_new_tokens=MOST_NEW_TOKENS, do_sample=False)
        new = tokens[:, inputs["input_ids"].shape[1] :]
        texts += models.processor.batch_decode(new, skip_special_tokens=True)
    counts = []
    for question, text in zip(questions, texts, strict=True):
        there = {found.kind for found in question.scene.objects}
        named = kinds_named(text)
        counts.append((len(named & there), len(named - there), len(there - named)))
    table = np.array(counts, dtype=np.float64)
    right, wrong, missed = table.sum(0).astype(int).tolist()
    figures = {
        "f1": f1_of_counts(table),
        "precision": share(right, right + wrong),
        "recall": share(right, right + missed),
    }
    return figures, texts


@torch.inference_mode()
def zero_shot(models: LoadedModels, n: int) -> Figure:
    """The kind of the one object in a scene, by the most similar of "a photo of a ..."."""
    drawn = scenes(n, n_objects=1)
    device = models.clip.device
    texts = models.clip_tokenizer([photo_of(kind) for kind in KINDS], padding=True, return_tensors="pt")
    captions = models.clip.get_text_features(
        texts["input_ids"].to(device), texts["attention_mask"].to(device)
    ).pooler_output
    right = 0
    for batch in batches(drawn):
        pixels = models.processor.image_processor([Image.fromarray(s.image) for s in batch], return_tensors="pt")
        pictures = models.clip.get_image_features(pixels["pixel_values"].to(device)).pooler_output
        similar = torch.nn.functional.cosine_similarity(pictures[:, None], captions[None], dim=-1)
        kinds = [KINDS[place] for place in similar.argmax(-1).tolist()]
        right += sum(kind == s.objects[0].kind for kind, s in zip(kinds, batch, strict=True))
    return share(right, n)
