"""CLIP's vision tower and text tower as one model, each projected into the space that they share."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.model.cache import ActivationCache
from vlm_lens.model.hook_point import HookPoint
from vlm_lens.model.hooked_root import HookedRoot
from vlm_lens.model.parts import CLIPParts
from vlm_lens.model.transformer import HookedTransformer

# CLIP's first checkpoints name 2 as their end token and mean the highest id of the vocabulary.
_END_IS_HIGHEST_ID = 2


class TwoTowers(HookedRoot):
    """CLIP's two towers as hooked transformers: hooks under `vision` and `text`, and on both projected vectors.

    `hook_image_embed [image d_embed]` and `hook_text_embed [text d_embed]` are the projected vectors before they are
    scaled to length 1.

    Args:
        parts: the checkpoint's modules.
        processor: the checkpoint's processor; None for tokens and pixels only.
    """

    def __init__(self, parts: CLIPParts, processor: Any = None) -> None:
        super().__init__()
        self.processor = processor
        tokenizer = getattr(processor, "tokenizer", None)
        self.vision = HookedTransformer(*parts.vision)
        self.text = HookedTransformer(*parts.text, tokenizer=tokenizer)
        self.visual_projection, self.text_projection = parts.visual_projection, parts.text_projection
        self.logit_scale, self.end_token_id = parts.logit_scale, parts.end_token_id
        self.hook_image_embed, self.hook_text_embed = HookPoint(), HookPoint()
        self.setup()

    def encode_image(self, pixel_values: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image d_embed"]:
        """Each picture's vector, not yet scaled to length 1."""
        stream = self.vision(pixel_values, stop_at_layer=self.vision.cfg.n_layers)
        is_normed_whole = not all(point.is_idle for point in self.vision.final_points())
        pooled = self.vision.ln_final(stream)[:, 0] if is_normed_whole else self.vision.ln_final(stream[:, 0])
        return self.hook_image_embed(self.visual_projection(pooled))

    def encode_text(
        self, input_ids: Int[Tensor, "text pos"], attention_mask: Tensor | None = None
    ) -> Float[Tensor, "text d_embed"]:
        """Each text's vector, read at its end token, not yet scaled to length 1."""
        normed = self.text(input_ids, attention_mask=attention_mask)
        input_ids = input_ids.to(normed.device)
        if self.end_token_id == _END_IS_HIGHEST_ID:
            end = input_ids.argmax(dim=-1)
        else:
            end = (input_ids == self.end_token_id).int().argmax(dim=-1)
        pooled = normed[torch.arange(len(normed), device=normed.device), end]
        return self.hook_text_embed(self.text_projection(pooled))

    def similarity(
        self, image_vectors: Float[Tensor, "image d_embed"], text_vectors: Float[Tensor, "text d_embed"]
    ) -> Float[Tensor, "image text"]:
        """Cosine similarity times the learned temperature: the logits of CLIP's contrast."""
        images = functional.normalize(image_vectors, dim=-1)
        texts = functional.normalize(text_vectors, dim=-1)
        return images @ texts.to(images.device).T * self.logit_scale.exp().to(images.device)

    def forward(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "image text"]:
        """The similarity of every picture to every text.

        Args:
            inputs: `pixel_values`, `input_ids` and perhaps `attention_mask`, as the processor returns them.

        Raises:
            InputError: where pixels or tokens are missing.
        """
        missing = [name for name in ("pixel_values", "input_ids") if name not in inputs]
        if missing:
            raise InputError(
                "CLIP inputs are incomplete", "pixel_values and input_ids", f"no {' and no '.join(missing)}"
            )
        texts = self.encode_text(inputs["input_ids"], inputs.get("attention_mask"))
        return self.similarity(self.encode_image(inputs["pixel_values"]), texts)

    def run_with_cache(self, *model_args: Any, **options: Any) -> tuple[Any, "TwoTowersCache"]:
        """Run, and keep activations; see `HookedTransformer.run_with_cache` for the options."""
        output, saved = super().run_with_cache(*model_args, **options)
        return output, TwoTowersCache(saved, self)

    def slices_positions_of(self, name: str) -> bool:
        """The projected vectors have no positions."""
        return name not in ("hook_image_embed", "hook_text_embed")


class TwoTowersCache(dict[str, Tensor]):
    """Activations of both towers by name; `cache.vision` and `cache.text` have `ActivationCache`'s methods."""

    def __init__(self, saved: dict[str, Tensor], model: TwoTowers) -> None:
        super().__init__(saved)
        self.model = model

    @property
    def vision(self) -> ActivationCache:
        """The vision tower's part: `cache.vision["pattern", 3]`."""
        return self._part("vision.", self.model.vision)

    @property
    def text(self) -> ActivationCache:
        """The text tower's part: `cache.text["resid_post", 3]`."""
        return self._part("text.", self.model.text)

    def _part(self, prefix: str, tower: HookedTransformer) -> ActivationCache:
        part = {name.removeprefix(prefix): value for name, value in self.items() if name.startswith(prefix)}
        return ActivationCache(part, tower)
