"""How large the model and its inputs are; every script takes these as arguments."""

import argparse
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """A LLaVA and one prompt with one picture.

    Attributes:
        text_before: text positions before the picture; the other text stands after it.
        window: layers that a knockout of the sweeps spans.
        new_tokens: how many tokens are generated.
    """

    device: str = "cpu"
    dtype: str = "float32"
    d_model: int = 512
    d_head: int = 64
    d_mlp: int = 1376
    decoder_layers: int = 32
    vision_width: int = 256
    vision_layers: int = 8
    vision_d_head: int = 64
    image_size: int = 336
    patch_size: int = 14
    text_tokens: int = 40
    text_before: int = 5
    vocabulary: int = 8192
    window: int = 10
    new_tokens: int = 64

    @property
    def n_cols(self) -> int:
        """Patches along one side of the picture."""
        return self.image_size // self.patch_size

    @property
    def n_patches(self) -> int:
        return self.n_cols**2

    @property
    def n_positions(self) -> int:
        return self.n_patches + self.text_tokens

    @property
    def image_start(self) -> int:
        """The position of the first patch."""
        return self.text_before

    def as_record(self) -> dict[str, Any]:
        return asdict(self)


MID_SIZE = Sizes()
"""Some 117 M parameters: real proportions that a CPU runs in a second."""

LLAVA_7B = Sizes(
    device="cuda",
    dtype="bfloat16",
    d_model=4096,
    d_head=128,
    d_mlp=11008,
    vision_width=1024,
    vision_layers=24,
    vocabulary=32_064,
)
"""LLaVA-1.5-7B's own shape."""


def add_size_arguments(parser: argparse.ArgumentParser, defaults: Sizes) -> None:
    group = parser.add_argument_group("sizes")
    for field in fields(Sizes):
        default = getattr(defaults, field.name)
        group.add_argument(f"--{field.name.replace('_', '-')}", type=type(default), default=default)


def sizes_of(arguments: argparse.Namespace) -> Sizes:
    return Sizes(**{field.name: getattr(arguments, field.name) for field in fields(Sizes)})
