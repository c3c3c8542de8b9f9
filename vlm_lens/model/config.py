"""What a tower is: TransformerLens's field names, filled from the checkpoint's own config."""

from dataclasses import dataclass
from typing import Literal

from vlm_lens._tl import TransformerLensConfig


@dataclass
class TransformerConfig(TransformerLensConfig):
    """The shape of one tower, under TransformerLens's field names.

    Every number comes from the checkpoint's config; nothing here is a default of ours that a checkpoint
    could silently differ from. Fields that `TransformerLensConfig` has keep their meaning there.

    Attributes:
        input_type: "tokens" (a decoder or a text tower) or "pixels" (a vision tower).
        attention_dir: "causal" or "bidirectional".
        window_sizes: for each layer the number of positions a query sees, itself included, or None for all.
        attn_scale: what scores are divided by before the softmax (TransformerLens's meaning).
        rotary_dim: the components of a head that rotate; None without rotary positions.
        rotary_base: the base of the rotary frequencies; None without rotary positions.
        has_class_token: whether a class token stands before the patches (vision towers).
        image_size: height and width of the picture in model pixels (vision towers).
        patch_size: height and width of a patch in model pixels (vision towers).
        end_token_ids: the tokens that end a text.
        original_architecture: the checkpoint's own class name.
    """

    input_type: Literal["tokens", "pixels"] = "tokens"
    attention_dir: Literal["causal", "bidirectional"] = "causal"
    window_sizes: tuple[int | None, ...] = ()
    attn_scale: float = 1.0
    rotary_dim: int | None = None
    rotary_base: float | None = None
    has_class_token: bool = False
    image_size: tuple[int, int] | None = None
    patch_size: tuple[int, int] | None = None
    end_token_ids: tuple[int, ...] = ()
    model_name: str = ""
    original_architecture: str = ""
    tokenizer_name: str | None = None
    use_attn_in: bool = False
    use_hook_mlp_in: bool = False
    parallel_attn_mlp: bool = False

    @property
    def n_kv(self) -> int:
        """How many key and value heads there are, grouped or not."""
        return self.n_key_value_heads or self.n_heads
