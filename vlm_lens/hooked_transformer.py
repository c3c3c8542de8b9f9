"""A decoder or a tower alone, as a user holds it."""

from typing import Any

from torch import nn

from vlm_lens.attachments import GeneratesAttached
from vlm_lens.model import transformer
from vlm_lens.model.loading import tower_parts
from vlm_lens.sweeps import Sweeps


class HookedTransformer(Sweeps, GeneratesAttached, transformer.HookedTransformer):
    """A transformer rebuilt around a checkpoint's own modules, with TransformerLens's names, shapes and verbs."""

    @classmethod
    def from_hf(cls, model: nn.Module, tokenizer: Any = None) -> "HookedTransformer":
        """Hook a decoder or a tower of `transformers` that is already in memory.

        Args:
            model: a `LlamaForCausalLM`, `MistralForCausalLM`, `Qwen2ForCausalLM`, `CLIPVisionModel`, `CLIPTextModel` or
                `SiglipVisionModel`.
            tokenizer: the checkpoint's tokenizer, for the verbs that take text.

        Raises:
            UnsupportedModelError: for another class, with the supported ones.
        """
        return HookedTransformer(*tower_parts(model), tokenizer=tokenizer)

    def __repr__(self) -> str:
        cfg = self.cfg
        kind = "pictures" if cfg.input_type == "pixels" else "tokens"
        return (
            f"HookedTransformer({cfg.original_architecture or cfg.model_name} over {kind}: {cfg.n_layers} layers of "
            f"{cfg.n_heads} heads, {len(self.hook_dict)} hooks, {cfg.dtype} on {cfg.device})"
        )
