"""What a family's adapter hands over: the checkpoint's own modules, each under what it is for."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from vlm_lens.model.config import TransformerConfig

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class BlockParts:
    """One layer of the checkpoint.

    Attributes:
        ln1, ln2: the norms before attention and before the MLP.
        q, k, v, o: the attention's linears.
        mlp_in, mlp_out: the MLP's linears.
        mlp_gate: the gate's linear in a gated MLP, else None.
        activation: the MLP's non-linearity.
    """

    ln1: nn.Module
    ln2: nn.Module
    q: nn.Module
    k: nn.Module
    v: nn.Module
    o: nn.Module
    mlp_in: nn.Module
    mlp_out: nn.Module
    mlp_gate: nn.Module | None
    activation: Activation


@dataclass(frozen=True, eq=False)
class TransformerParts:
    """One tower of the checkpoint.

    Attributes:
        blocks: its layers.
        ln_final: the norm after the last layer.
        tokens: the token embedding (decoder, text tower).
        unembed: the linear from the stream to the vocabulary (decoder).
        rotary: the module that gives rotary angles for positions (decoder).
        positions: the embedding of learned positions (encoders).
        patches: the convolution that embeds patches (vision tower).
        class_token: the class token's embedding (CLIP's vision tower).
        ln_pre: the norm before the first block (CLIP's vision tower).
    """

    blocks: tuple[BlockParts, ...]
    ln_final: nn.Module
    tokens: nn.Embedding | None = None
    unembed: nn.Module | None = None
    rotary: nn.Module | None = None
    positions: nn.Embedding | None = None
    patches: nn.Conv2d | None = None
    class_token: nn.Parameter | None = None
    ln_pre: nn.Module | None = None


@dataclass(frozen=True, eq=False)
class ProjectorParts:
    """The checkpoint's projector: two linears and the non-linearity between them."""

    linear_in: nn.Module
    activation: Activation
    linear_out: nn.Module


@dataclass(frozen=True)
class FeatureSelection:
    """Which hidden states of the tower feed the projector.

    Attributes:
        layers: indices into the tower's n_layers + 1 hidden states (0: what enters the first block), counted from the
            end where negative, in the order in which they are laid side by side.
        keeps_class_token: whether the class token is fed too.
    """

    layers: tuple[int, ...]
    keeps_class_token: bool

    def depths(self, n_layers: int) -> tuple[int, ...]:
        """For each selected state how many blocks stand before it."""
        return tuple(range(n_layers + 1)[layer] for layer in self.layers)


@dataclass(frozen=True, eq=False)
class JoinedParts:
    """What a family's adapter hands over for a vision-language model."""

    decoder_config: TransformerConfig
    decoder: TransformerParts
    vision_config: TransformerConfig
    vision: TransformerParts
    projector: ProjectorParts
    features: FeatureSelection
    image_token_id: int
    architecture: str


@dataclass(frozen=True, eq=False)
class CLIPParts:
    """What the adapter hands over for a CLIP model."""

    vision: tuple[TransformerConfig, TransformerParts]
    text: tuple[TransformerConfig, TransformerParts]
    visual_projection: nn.Module
    text_projection: nn.Module
    logit_scale: nn.Parameter
    end_token_id: int
