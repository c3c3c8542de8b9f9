"""The time below which no implementation can come: products and weights at the rates that this machine reached.

Norms, activations, rotary positions and everything else between the products count as nothing, attention counts the
pairs that causality leaves, and weights are read once for all rows that need them at the same time.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from benchmarks.machine import copy_rate, gemm_rate
from benchmarks.sizes import Sizes

Product = tuple[int, int]
"""Inner and outer width of a linear map."""


@dataclass(frozen=True)
class Rates:
    """What was measured in this run: FLOPs a second of each linear map at the prompt's rows, bytes a second."""

    products: dict[Product, float]
    attention: float
    memory: float

    @classmethod
    def measured(cls, sizes: Sizes) -> "Rates":
        shapes = Shapes(sizes)
        tower = {shape: gemm_rate(sizes.n_patches + 1, *shape, sizes) for shape in shapes.tower_layer}
        rest = (*shapes.decoder_layer, *shapes.projector, shapes.unembedding)
        decoder = {shape: gemm_rate(sizes.n_positions, *shape, sizes) for shape in rest}
        products = tower | decoder
        return cls(products, max(products.values()), copy_rate(sizes))

    def as_record(self) -> dict[str, Any]:
        products = {f"{inner} x {outer}": rate for (inner, outer), rate in self.products.items()}
        return {"flops_per_second": products, "copy_bytes_per_second": self.memory}


@dataclass(frozen=True)
class Shapes:
    """The linear maps of the model."""

    sizes: Sizes

    @property
    def decoder_layer(self) -> list[Product]:
        d_model, d_mlp = self.sizes.d_model, self.sizes.d_mlp
        return [(d_model, d_model)] * 4 + [(d_model, d_mlp)] * 2 + [(d_mlp, d_model)]

    @property
    def tower_layer(self) -> list[Product]:
        width = self.sizes.vision_width
        return [(width, width)] * 4 + [(width, 4 * width), (4 * width, width)]

    @property
    def projector(self) -> list[Product]:
        return [(self.sizes.vision_width, self.sizes.d_model), (self.sizes.d_model, self.sizes.d_model)]

    @property
    def unembedding(self) -> Product:
        return (self.sizes.d_model, self.sizes.vocabulary)


@dataclass(frozen=True)
class Floor:
    """Seconds of the parts of a pass."""

    sizes: Sizes
    rates: Rates

    @cached_property
    def shapes(self) -> Shapes:
        return Shapes(self.sizes)

    @property
    def _itemsize(self) -> int:
        return getattr(torch, self.sizes.dtype).itemsize

    def linear(self, rows: int, shape: Product) -> float:
        """One linear map over some rows: its products, or reading its weights, whichever takes longer."""
        inner, outer = shape
        if rows == 0:
            return 0.0
        return max(
            2 * rows * inner * outer / self.rates.products[shape], inner * outer * self._itemsize / self.rates.memory
        )

    def attention(self, n_pairs: int, width: int) -> float:
        """Scores and weighted values of so many pairs of query and key."""
        return 4 * n_pairs * width / self.rates.attention

    def tower(self) -> float:
        """The layers that the projector reads, and the projector; the last layer's output is not read."""
        rows = self.sizes.n_patches + 1
        layer = sum(self.linear(rows, shape) for shape in self.shapes.tower_layer)
        layer += self.attention(rows * rows, self.sizes.vision_width)
        projector = sum(self.linear(self.sizes.n_patches, shape) for shape in self.shapes.projector)
        return (self.sizes.vision_layers - 1) * layer + projector

    def prompt_layer(self) -> float:
        """One decoder layer over the whole prompt."""
        n = self.sizes.n_positions
        return self._linears(n) + self.attention(n * (n + 1) // 2, self.sizes.d_model)

    def rows_layer(self, rows: int) -> float:
        """One decoder layer over some rows against the prompt's keys."""
        return self._linears(rows) + self.attention(rows * self.sizes.n_positions, self.sizes.d_model)

    def unembedding(self, rows: int) -> float:
        return self.linear(rows, self.shapes.unembedding)

    def token(self, n_sequences: int) -> float:
        """One step of a generation: all weights once, and the keys and values of the prompt once for all sequences."""
        layer = self._linears(n_sequences)
        keys_and_values = 2 * self.sizes.n_positions * self.sizes.d_model * self._itemsize / self.rates.memory
        return self.sizes.decoder_layers * (layer + keys_and_values) + self.unembedding(n_sequences)

    def seconds(
        self, extra_rows: tuple[int, ...], n_unembedded: int, runs_of_tower: int, n_new: int, n_sequences: int
    ) -> float:
        """A whole task: one clean pass, the rows that changes touch, what is unembedded, what is generated."""
        passes = runs_of_tower * self.tower() + self.sizes.decoder_layers * self.prompt_layer()
        changed = sum(self.rows_layer(rows) for rows in extra_rows)
        generated = (n_new - 1) * self.token(n_sequences) if n_new else 0.0
        return passes + changed + self.unembedding(n_unembedded) + generated

    def _linears(self, rows: int) -> float:
        return sum(self.linear(rows, shape) for shape in self.shapes.decoder_layer)
