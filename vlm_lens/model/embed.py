"""From tokens or pixels to the stream, and from the stream to the vocabulary."""

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from vlm_lens.errors import InputError
from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.hook_point import HookPoint
from vlm_lens.model.linear import bias_of, weight_of
from vlm_lens.model.parts import TransformerParts


class Embed(nn.Module):
    """The token embedding."""

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        """Each token's vector."""
        return self.embedding(tokens)

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        """The embedding's weights, the checkpoint's own."""
        return self.embedding.weight  # type: ignore[return-value]


class PosEmbed(nn.Module):
    """Learned positions of a text tower."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, position_ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        """Each position's vector.

        Raises:
            InputError: for a position that the tower has not learned.
        """
        n_positions, n_learned = int(position_ids.max()) + 1, self.embedding.num_embeddings
        if n_positions > n_learned:
            rule = f"at most {n_learned} tokens"
            raise InputError("Text is longer than the context", rule, f"{n_positions}", "Shorten it.")
        return self.embedding(position_ids)

    @property
    def W_pos(self) -> Float[Tensor, "n_ctx d_model"]:
        """The position vectors, the checkpoint's own."""
        return self.embedding.weight


class PatchEmbed(nn.Module):
    """Patches of a picture as vectors, then the class token before them and learned positions on all."""

    def __init__(self, cfg: TransformerConfig, parts: TransformerParts) -> None:
        super().__init__()
        assert parts.patches is not None and parts.positions is not None
        self.cfg = cfg
        self.patches, self.positions, self.class_token = parts.patches, parts.positions, parts.class_token

    def forward(
        self, pixel_values: Float[Tensor, "image channel height width"]
    ) -> Float[Tensor, "image patch d_model"]:
        """Each patch's vector, row by row.

        Raises:
            InputError: for pictures of another size than the tower was made for.
        """
        if tuple(pixel_values.shape[-2:]) != self.cfg.image_size:
            height, width = pixel_values.shape[-2:]
            expected = f"{self.cfg.image_size} (height, width)"
            advice = "Let the checkpoint's processor prepare it."
            raise InputError("Picture does not fit the vision tower", expected, f"({height}, {width})", advice)
        weight = self.patches.weight
        grid = self.patches(pixel_values.to(device=weight.device, dtype=weight.dtype))
        return rearrange(grid, "image d_model row col -> image (row col) d_model")

    def placed(self, patches: Float[Tensor, "image patch d_model"]) -> Float[Tensor, "image pos d_model"]:
        """The patches after the class token, where the tower has one, with positions added."""
        if self.class_token is not None:
            class_token = repeat(self.class_token, "d_model -> image 1 d_model", image=len(patches))
            patches = torch.cat((class_token, patches), dim=1)
        return patches + self.positions.weight[None]


class Unembed(nn.Module):
    """The linear from the stream to the vocabulary: `hook_in [batch pos d_model]`, `hook_out [batch pos d_vocab]`."""

    def __init__(self, linear: nn.Module, d_vocab: int) -> None:
        super().__init__()
        self.linear, self.d_vocab = linear, d_vocab
        self.hook_in, self.hook_out = HookPoint(), HookPoint()

    def forward(self, normed: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_vocab"]:
        """The logits."""
        return self.hook_out(self.linear(self.hook_in(normed)))

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:
        """Unembedding weights, a view of the checkpoint's."""
        return weight_of(self.linear, "W_U").T

    @property
    def b_U(self) -> Float[Tensor, " d_vocab"]:
        """The unembedding's bias, zeros where the checkpoint has none."""
        return bias_of(self.linear, self.d_vocab)
