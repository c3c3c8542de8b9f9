"""The stages behind the frozen tower: the language alone, the projector alone, then both together."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from vlm_lens.demo.architecture import FEATURE_LAYER, N_PATCHES
from vlm_lens.demo.training.answer_loss import answer_loss, pack_turns
from vlm_lens.demo.training.encoded_turns import TurnEncoder
from vlm_lens.demo.training.order import scenes_of_step
from vlm_lens.demo.training.packed_attention import PACKED_TURNS, SPREAD
from vlm_lens.demo.training.pictures import normalised
from vlm_lens.demo.training.pool import ScenePool
from vlm_lens.demo.training.recipe import Recipe, StageRecipe
from vlm_lens.demo.training.task_mix import MIXES

Losses = tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]


@torch.no_grad()
def tower_features(
    llava: LlavaForConditionalGeneration, pool: ScenePool, batch_size: int = 64
) -> Float[Tensor, "scene patch d_vision"]:
    """What the projector reads of every scene: the frozen tower has to look at each only once."""
    tower = llava.model.vision_tower
    tower.set_attn_implementation(SPREAD)
    features = []
    for pixels in pool.pixels.split(batch_size):
        with torch.autocast(llava.device.type, dtype=torch.bfloat16):
            seen = tower(normalised(pixels.to(llava.device)), output_hidden_states=True)
        features.append(seen.hidden_states[FEATURE_LAYER][:, 1:].bfloat16().cpu())
    return torch.cat(features)


class LanguageStage:
    """The decoder alone learns to speak: the same turns, with no picture in front."""

    name = "language"

    def __init__(
        self,
        llava: LlavaForConditionalGeneration,
        pools: dict[int, ScenePool],
        tokenizer: PreTrainedTokenizerFast,
        recipe: Recipe,
        stage: StageRecipe,
    ) -> None:
        llava.model.language_model.set_attn_implementation(PACKED_TURNS)
        self.llava, self.pools, self.recipe, self.stage = llava, pools, recipe, stage
        self.modules: tuple[nn.Module, ...] = (llava.model.language_model, llava.lm_head)
        self.prefix = TurnEncoder(tokenizer, has_image=False).prefix

    def loss(self, shard: int, step: int) -> Losses:
        """The loss of one shard's batch, and the share of right answer tokens by task."""
        pool = self.pools[shard]
        scenes, _ = scenes_of_step(step, self.stage.batch_size, len(pool), self.recipe.seed, shard, 1)
        sets = [pool.recited[scene] for scene in scenes]
        groups = [[asked.short for asked in sets], [(asked.long,) for asked in sets]]
        batch = pack_turns(self.prefix, groups, MIXES[self.stage.mix].answer_weights)
        return answer_loss(self.llava, batch, None)


class ImageStage:
    """Turns behind a picture.

    Args:
        llava: The model; its tower is frozen.
        features: For each shard, what the tower shows of its pool.
        pools: For each shard, its scenes and turns.
        tokenizer: The demo tokenizer.
        recipe: The whole training.
        stage: This stage; `projector` trains the projector alone, every other the decoder as well.
    """

    def __init__(
        self,
        llava: LlavaForConditionalGeneration,
        features: dict[int, Float[Tensor, "scene patch d_vision"]],
        pools: dict[int, ScenePool],
        tokenizer: PreTrainedTokenizerFast,
        recipe: Recipe,
        stage: StageRecipe,
    ) -> None:
        llava.model.language_model.set_attn_implementation(PACKED_TURNS)
        self.llava, self.features, self.pools = llava, features, pools
        self.recipe, self.stage, self.name = recipe, stage, stage.name
        self.modules: tuple[nn.Module, ...] = (llava.model.multi_modal_projector,)
        if stage.name != "projector":
            self.modules += (llava.model.language_model, llava.lm_head)
        self.prefix = TurnEncoder(tokenizer).prefix
        self.image_token_id = llava.config.image_token_id

    def loss(self, shard: int, step: int) -> Losses:
        """The loss of one shard's batch, and the share of right answer tokens by task."""
        pool = self.pools[shard]
        scenes, epoch = scenes_of_step(step, self.stage.batch_size, len(pool), self.recipe.seed, shard, 2)
        sets = [pool.asked[scene][epoch % self.recipe.n_sets] for scene in scenes]
        groups = [[asked.short for asked in sets]]
        mix = MIXES[self.stage.mix]
        if step % mix.long_every == 0:
            groups.append([(asked.long,) for asked in sets])
        batch = pack_turns(self.prefix, groups, mix.answer_weights, self.image_token_id, N_PATCHES)
        features = self.features[shard][scenes].to(self.llava.device, torch.float32)
        return answer_loss(self.llava, batch, features)
