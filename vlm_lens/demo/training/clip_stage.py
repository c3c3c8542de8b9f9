"""The first stage: CLIP on pictures and captions, warmed up by what each patch shows."""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import CLIPModel, PreTrainedTokenizerFast

from vlm_lens.demo.scenes import KINDS
from vlm_lens.demo.text import photo_of
from vlm_lens.demo.training.clip_loss import (
    PatchReader,
    multi_positive_loss,
    tower_states,
)
from vlm_lens.demo.training.order import scenes_of_step
from vlm_lens.demo.training.pictures import normalised
from vlm_lens.demo.training.pool import ScenePool
from vlm_lens.demo.training.recipe import Recipe, StageRecipe
from vlm_lens.hooked_clip import HookedCLIP

LONGEST_CAPTION = 16
"""Tokens; longer captions would cost as much as the pictures and are left out."""


class CaptionTable:
    """A pool's captions as token ids, and for each scene which short captions are true of it."""

    def __init__(self, pool: ScenePool, tokenizer: PreTrainedTokenizerFast) -> None:
        encoded = tokenizer(list(pool.captions))["input_ids"]
        self.ids = [ids + [tokenizer.eos_token_id] for ids in encoded]
        self.padding = tokenizer.pad_token_id
        is_short = np.array([len(ids) <= LONGEST_CAPTION for ids in self.ids])
        self.choices = [true[is_short[true]] for true in pool.truths]
        numbers = {caption: number for number, caption in enumerate(pool.captions)}
        self.of_kinds = np.array([numbers[c] for c in map(photo_of, KINDS) if c in numbers])

    def tensors(
        self, captions: Int[np.ndarray, " caption"]
    ) -> tuple[Int[Tensor, "caption pos"], Int[Tensor, "caption pos"]]:
        """Token ids, padded at the end, and the mask of what is no padding."""
        rows = [torch.tensor(self.ids[caption]) for caption in captions]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.padding)
        return ids, (ids != self.padding).long()


class ClipStage:
    """Patch loss alone at first, then the contrastive loss beside it."""

    name = "clip"

    def __init__(
        self,
        clip: CLIPModel,
        reader: PatchReader,
        pools: dict[int, ScenePool],
        tokenizer: PreTrainedTokenizerFast,
        recipe: Recipe,
        stage: StageRecipe,
    ) -> None:
        self.clip, self.reader, self.pools = HookedCLIP.from_hf(clip), reader, pools
        self.recipe, self.stage = recipe, stage
        self.modules: tuple[nn.Module, ...] = (clip, reader)
        self._captions = cache(lambda shard: CaptionTable(pools[shard], tokenizer))

    def loss(self, shard: int, step: int) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The loss of one shard's batch, and its parts."""
        pool, device = self.pools[shard], self.clip.logit_scale.device
        scenes, _ = scenes_of_step(step, self.stage.batch_size, len(pool), self.recipe.seed, shard, 0)
        hidden, pictures = tower_states(self.clip, normalised(pool.pixels[scenes].to(device)))
        patch = self.reader(hidden, pool.shares[scenes].to(device))
        if step < self.recipe.contrast_from * self.stage.n_steps:
            return patch, {"patch": patch.detach()}
        table = self._captions(shard)
        random = np.random.default_rng((self.recipe.seed, shard, step))
        chosen = [
            random.choice(choices, min(self.recipe.n_captions, len(choices)), replace=False)
            for choices in (table.choices[scene] for scene in scenes)
        ]
        captions = np.unique(np.concatenate([table.of_kinds, *chosen]))
        ids, mask = table.tensors(captions)
        contrast = multi_positive_loss(
            pictures,
            self.clip.encode_text(ids.to(device), mask.to(device)),
            pool.truth_table(scenes, captions).to(device),
            self.clip.logit_scale,
        )
        loss = contrast + self.recipe.patch_weight * patch
        return loss, {"patch": patch.detach(), "contrast": contrast.detach()}
