"""What is done to the model, said so that every tool can be told: edges that are blocked, vectors that are replaced."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from benchmarks.sizes import Sizes


@dataclass(frozen=True, eq=False)
class Blocked:
    """Edges of attention that are cut before the softmax, in the positions of the tower.

    Attributes:
        also_generated: the rows of generated tokens are queries as well.
        is_mutual: the edges from keys to queries are cut too.
    """

    queries: tuple[int, ...]
    keys: tuple[int, ...]
    layers: tuple[int, ...]
    tower: Literal["decoder", "vision"] = "decoder"
    also_generated: bool = False
    is_mutual: bool = False

    def allowed(
        self, n_prompt: int, n_queries: int, n_keys: int, device: torch.device | str
    ) -> Bool[Tensor, "1 1 query_pos key_pos"]:
        """The mask of one pass, whose queries are the last rows of its keys."""
        first = n_keys - n_queries
        every = torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
        allowed = every.tril(first) if self.tower == "decoder" else every
        queries = [one - first for one in self.queries if first <= one < n_keys]
        if self.also_generated:
            queries += range(max(n_prompt - first, 0), n_queries)
        allowed[torch.tensor(queries, dtype=torch.long)[:, None], torch.tensor(self.keys)] = False
        if self.is_mutual:
            allowed[torch.tensor(self.keys)[:, None], torch.tensor(queries)] = False
        return allowed[None, None]


@dataclass(frozen=True, eq=False)
class Replaced:
    """Image tokens that enter the decoder as one given vector.

    Attributes:
        patches: of the picture, row by row, from 0.
    """

    patches: tuple[int, ...]
    vector: Float[Tensor, " d_model"]


Change = Blocked | Replaced


@dataclass(frozen=True, eq=False)
class Condition:
    """One cell of a table: what is done, and which patches are read where a lens reads."""

    name: str
    changes: tuple[Change, ...] = ()
    patches: tuple[int, ...] = field(default=())


PLAIN = Condition("plain")


def rectangle(sizes: Sizes, top: float, left: float, height: float, width: float, margin: int = 0) -> tuple[int, ...]:
    """Patches of a rectangle given in shares of the grid, with so many more on every side."""
    n = sizes.n_cols

    def span(start: float, length: float) -> range:
        first = min(int(start * n), n - 1)
        return range(max(first - margin, 0), min(first + max(round(length * n), 1) + margin, n))

    return tuple(row * n + col for row in span(top, height) for col in span(left, width))


def thing(sizes: Sizes, margin: int = 0) -> tuple[int, ...]:
    """The patches of the object that the knockouts are about: a sixth of the picture's side."""
    return rectangle(sizes, 1 / 3, 5 / 12, 1 / 6, 1 / 6, margin)


def positions_of(sizes: Sizes, patches: Sequence[int]) -> tuple[int, ...]:
    """Where patches stand in the prompt."""
    return tuple(sizes.image_start + patch for patch in patches)


def text_positions(sizes: Sizes) -> tuple[int, ...]:
    """Every position of the prompt that is no patch."""
    return (*range(sizes.text_before), *range(sizes.image_start + sizes.n_patches, sizes.n_positions))


def sliding_windows(sizes: Sizes) -> list[tuple[int, ...]]:
    """A window that starts at each layer of the decoder in turn, cut off at the last."""
    return [
        tuple(range(start, min(start + sizes.window, sizes.decoder_layers))) for start in range(sizes.decoder_layers)
    ]
