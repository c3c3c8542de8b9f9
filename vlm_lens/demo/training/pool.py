"""A pool of drawn scenes, reduced to what training needs of them.

Drawing costs about as much as a training step of the tower, so scenes are drawn once and shown several times.
Text costs little: each scene brings several independent sets of turns, so that it is never asked the same
things twice in a row.
"""

from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from vlm_lens.demo.architecture import IMAGE_SIZE, N_PATCHES
from vlm_lens.demo.scenes import Scene
from vlm_lens.demo.text import true_captions
from vlm_lens.demo.training.encoded_turns import EncodedTurn, TurnEncoder
from vlm_lens.demo.training.pictures import LABEL_SIZES, patch_shares, resized_pixels
from vlm_lens.demo.training.task_mix import TaskMix


@dataclass(frozen=True, eq=False)
class AskedScene:
    """One set of turns about one scene.

    Attributes:
        short: Questions with answers of a word or a few.
        long: The one turn with a long answer.
    """

    short: tuple[EncodedTurn, ...]
    long: EncodedTurn


@dataclass(frozen=True, eq=False)
class ScenePool:
    """Scenes as tensors.

    Attributes:
        pixels: At the tower's size, in 0 to 255.
        shares: What each patch shows (`pictures.patch_shares`).
        captions: All captions that are true of some scene of the pool.
        truths: For each scene, the numbers of the captions true of it.
        asked: For each scene, several sets of turns behind its picture.
        recited: For each scene, one set of turns in which the picture is not shown.
    """

    pixels: UInt8[Tensor, "scene channel height width"]
    shares: UInt8[Tensor, "scene patch label"]
    captions: tuple[str, ...]
    truths: tuple[Int[np.ndarray, " _"], ...]
    asked: tuple[tuple[AskedScene, ...], ...]
    recited: tuple[AskedScene, ...]

    def __len__(self) -> int:
        return len(self.pixels)

    def truth_table(
        self, scenes: Int[np.ndarray, " batch"], captions: Int[np.ndarray, " caption"]
    ) -> Bool[Tensor, "batch caption"]:
        """Which of the captions are true of which scene."""
        rows = [np.isin(captions, self.truths[scene]) for scene in scenes]
        return torch.from_numpy(np.stack(rows))


def draw_pool(
    tokenizer: PreTrainedTokenizerFast,
    *,
    first_seed: int,
    n_scenes: int,
    n_sets: int,
    mix: TaskMix,
    has_progress: bool = False,
) -> ScenePool:
    """Draws the scenes of consecutive seeds, with their captions and turns.

    Args:
        tokenizer: The demo tokenizer.
        first_seed: Seed of the first scene; the turns follow from the seeds as well.
        n_scenes: How many scenes.
        n_sets: Sets of turns for each scene.
        mix: Which scenes and turns.
        has_progress: Whether a progress bar is shown.
    """
    beside_image = TurnEncoder(tokenizer)
    alone = TurnEncoder(tokenizer, has_image=False)
    pixels = torch.empty(n_scenes, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    shares = torch.empty(n_scenes, N_PATCHES, sum(LABEL_SIZES), dtype=torch.uint8)
    numbers: dict[str, int] = {}
    truths: list[Int[np.ndarray, " _"]] = []
    asked: list[tuple[AskedScene, ...]] = []
    recited: list[AskedScene] = []
    seeds = range(first_seed, first_seed + n_scenes)
    for place, seed in enumerate(tqdm(seeds, "drawing scenes", disable=not has_progress, mininterval=5)):
        scene = mix.draw(seed)
        pixels[place] = torch.from_numpy(resized_pixels(scene))
        shares[place] = torch.from_numpy(patch_shares(scene))
        true = {numbers.setdefault(caption, len(numbers)) for caption in true_captions(scene)}
        truths.append(np.array(sorted(true), dtype=np.int32))
        random = Random(f"turns {seed}")
        asked.append(tuple(_ask(scene, random, beside_image, mix) for _ in range(n_sets)))
        recited.append(_ask(scene, random, alone, mix))
    return ScenePool(pixels, shares, tuple(numbers), tuple(truths), tuple(asked), tuple(recited))


def _ask(scene: Scene, random: Random, encode: TurnEncoder, mix: TaskMix) -> AskedScene:
    short = tuple(encode(turn) for turn in mix.short_turns(scene, random))
    return AskedScene(short, encode(mix.long_turn(scene, random)))
