"""Where the answer comes from: patches of the object at the mean, and what the logit lens reads there.

Reported, never tuned for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vlm_lens.demo.architecture import GRID_SIZE
from vlm_lens.demo.evaluation.held_out import scenes
from vlm_lens.demo.evaluation.intervals import Figure, mean, share
from vlm_lens.demo.evaluation.loaded import (
    BATCH_SIZE,
    LoadedModels,
    Question,
    answer_logits,
    batches,
    inputs_of,
    token_of,
)
from vlm_lens.demo.scenes import KINDS
from vlm_lens.demo.text import DESCRIBE
from vlm_lens.demo.text.turns import presence_question
from vlm_lens.demo.training.pictures import patch_coverage

LEAST_COVERAGE = 0.5
"""Share of a patch that an object must cover for the lens to be asked for its name."""


@dataclass(frozen=True)
class AblationFigures:
    """Yes/no about a kind that is there.

    Attributes:
        probability: P(Yes), among Yes and No, for each condition.
        accuracy: How often Yes is the larger.
        n_patches: Patches replaced, on average.
    """

    probability: dict[str, Figure]
    accuracy: dict[str, Figure]
    n_patches: float


def dilated(patches: Bool[np.ndarray, " patch"]) -> Bool[np.ndarray, " patch"]:
    """The patches and their eight neighbours."""
    grid = rearrange(patches, "(row column) -> row column", row=GRID_SIZE)
    padded = np.pad(grid, 1)
    shifts = [padded[row : row + GRID_SIZE, column : column + GRID_SIZE] for row in range(3) for column in range(3)]
    return np.logical_or.reduce(shifts).ravel()


@contextmanager
def _projector_hook(models: LoadedModels, hook: object) -> Iterator[None]:
    handle = models.vlm.model.multi_modal_projector.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def mean_embedding(models: LoadedModels, questions: Sequence[Question]) -> Float[Tensor, " d_model"]:
    """The mean of all patches at the projector's output."""
    total, n_patches = torch.zeros(()), 0
    for batch in batches(questions):
        pixels = inputs_of(models, batch)["pixel_values"]
        projected = torch.cat(models.vlm.get_image_features(pixels).pooler_output)
        total, n_patches = total.to(projected.device) + projected.sum(0), n_patches + len(projected)
    return total / n_patches


def ablation(models: LoadedModels, n: int) -> AblationFigures:
    """P(Yes) intact, with the object's patches (dilated by 1) at the mean, and as many random others.

    One object a scene is asked for. The random patches lie outside the dilated object; a scene in which too few are
    left is skipped over.
    """
    random = np.random.default_rng(0)
    questions: list[Question] = []
    objects: list[Bool[np.ndarray, " patch"]] = []
    others: list[Bool[np.ndarray, " patch"]] = []
    for scene in scenes(n + n // 5):
        found = scene.objects[int(random.integers(len(scene.objects)))]
        patches = dilated(patch_coverage(found.mask) > 0)
        outside = np.flatnonzero(~patches)
        if len(outside) < patches.sum() or len(questions) == n:
            continue
        other = np.zeros_like(patches)
        other[random.choice(outside, int(patches.sum()), replace=False)] = True
        questions.append(Question(scene, presence_question(found.kind), "", "Yes"))
        objects.append(patches)
        others.append(other)
    average = mean_embedding(models, questions)
    tokens = [token_of(models, "Yes"), token_of(models, "No")]
    nothing = [np.zeros_like(patches) for patches in objects]
    probability, accuracy = {}, {}
    for name, replaced in (("intact", nothing), ("object", objects), ("random", others)):
        logits = answer_with_mean_at(models, questions, np.stack(replaced), average)
        p_yes = logits[:, tokens].softmax(-1)[:, 0].cpu().double().numpy()
        probability[name] = mean(p_yes)
        accuracy[name] = share(int((p_yes > 0.5).sum()), len(p_yes))
    return AblationFigures(probability, accuracy, float(np.mean([p.sum() for p in objects])))


def answer_with_mean_at(
    models: LoadedModels,
    questions: Sequence[Question],
    replaced: Bool[np.ndarray, "question patch"],
    average: Float[Tensor, " d_model"],
) -> Float[Tensor, "question d_vocab"]:
    """Logits of the answers' first tokens with some patches at the average, at the projector's output."""
    masks = iter(torch.from_numpy(replaced).split(BATCH_SIZE))  # in step with `answer_logits`

    def replace(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        mask = next(masks).to(output.device)
        return torch.where(mask[..., None], average, output)

    with _projector_hook(models, replace):
        return answer_logits(models, questions)


@dataclass(frozen=True)
class LensFigures:
    """What the logit lens reads at an object's patches, after the projector and after each layer.

    Attributes:
        of_all: Share of patches whose most likely token of all names the object.
        of_kinds: Share whose most likely token among the names of the kinds does.
    """

    of_all: list[Figure]
    of_kinds: list[Figure]


@torch.inference_mode()
def lens_shares(models: LoadedModels, n: int) -> LensFigures:
    """How often the lens names the object at its patches, by layer.

    A patch counts where an object covers at least half of it; scenes are asked for their description, which stands
    behind the patches and cannot reach them.
    """
    decoder, n_patches = models.vlm.model.language_model, 0
    kinds = torch.tensor([token_of(models, kind) for kind in KINDS], device=models.vlm.device)
    n_right = torch.zeros(decoder.config.num_hidden_layers + 1, 2, dtype=torch.long)
    questions = [Question(scene, DESCRIBE, "", "") for scene in scenes(n)]
    for batch in batches(questions):
        wanted = np.full((len(batch), GRID_SIZE**2), -1)
        for row, question in enumerate(batch):
            for found in question.scene.objects:
                wanted[row, patch_coverage(found.mask) >= LEAST_COVERAGE] = KINDS.index(found.kind)
        inputs = inputs_of(models, batch)
        is_image = inputs["input_ids"] == models.vlm.config.image_token_id
        target = torch.from_numpy(wanted.ravel()).to(models.vlm.device)
        is_object = target >= 0
        target = target[is_object]
        states = models.vlm.model(**inputs, output_hidden_states=True).hidden_states
        for layer, state in enumerate(states):
            patches = state[is_image][is_object]
            # transformers hands out the last state with the final norm already applied
            normed = patches if layer == len(states) - 1 else decoder.norm(patches)
            logits = models.vlm.lm_head(normed)
            n_right[layer, 0] += (logits.argmax(-1) == kinds[target]).sum().cpu()
            n_right[layer, 1] += (logits[:, kinds].argmax(-1) == target).sum().cpu()
        n_patches += len(target)
    of_all, of_kinds = ([share(int(n), n_patches) for n in column] for column in n_right.T)
    return LensFigures(of_all, of_kinds)
