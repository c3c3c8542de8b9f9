"""Models and padded batches for tests of interventions, with every position counted by hand from the token ids."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from tests.interventions.plain_transformers import Edge, edges
from tests.tiny_models import (
    IMAGE,
    IMAGE_TOKEN,
    N_PATCHES,
    Variant,
    clip_vision,
    llama,
    mistral,
    new_llava,
    siglip_vision,
    tiny_inputs,
)

N_LAYERS, N_VISION_LAYERS, N_HEADS, GRID = 4, 5, 4, 4
_SMALL = dict(num_hidden_layers=N_LAYERS, hidden_size=24, intermediate_size=32)
_TOWER = dict(num_hidden_layers=N_VISION_LAYERS, hidden_size=16, intermediate_size=20)
_FULL = {"vision_feature_select_strategy": "full"}
_VARIANTS = {
    "grouped heads": Variant(lambda: llama(**_SMALL), partial(clip_vision, **_TOWER)),
    "sliding window": Variant(lambda: mistral(**_SMALL, sliding_window=12), partial(clip_vision, **_TOWER)),
    "no class token": Variant(lambda: llama(**_SMALL), partial(siglip_vision, **_TOWER), _FULL),
    "class token kept": Variant(lambda: llama(**_SMALL), partial(clip_vision, **_TOWER), _FULL),
}
FAMILIES = tuple(_VARIANTS)
TARGETS = ({5, 6, 9}, {0, 15})
"""The patches of the object in each row's picture, of 4 x 4."""


@cache
def checkpoint(family: str) -> LlavaForConditionalGeneration:
    """One model a family, shared: its weights stay as they are."""
    return new_llava(_VARIANTS[family])


def mapping(family: str) -> dict[str, Tensor]:
    """Two rows with a picture each; the second is padded on the left."""
    return tiny_inputs(checkpoint(family), [(2, IMAGE, 6), (1, IMAGE, 4)])


@dataclass(frozen=True)
class Row:
    """The positions of one row, each kind a set, and those of its picture in the vision tower.

    Attributes:
        number: the row of the batch.
        image: the patches, in order (a class token that was kept is text to nobody and stands before them).
        kept: the position of a class token that was kept, or nothing.
        text: what is neither image nor padding.
        last: the last position of the prompt.
        generated: positions after it.
        has_class_token: whether the tower puts a class token before the patches.
    """

    number: int
    image: tuple[int, ...]
    kept: tuple[int, ...]
    text: frozenset[int]
    last: int
    generated: frozenset[int]
    has_class_token: bool

    @property
    def target(self) -> set[int]:
        """The object's positions in the decoder."""
        return {self.image[patch] for patch in TARGETS[self.number]}

    @property
    def rest(self) -> set[int]:
        """All other patches' positions in the decoder."""
        return set(self.image) - self.target

    @property
    def bottom(self) -> set[int]:
        """The last row of patches."""
        return set(self.image[-GRID:])

    @property
    def everything(self) -> set[int]:
        """The picture's positions in the decoder, with a class token that was kept."""
        return {*self.image, *self.kept}

    @property
    def seen(self) -> set[int]:
        """The object's positions in the vision tower."""
        return {patch + int(self.has_class_token) for patch in TARGETS[self.number]}

    @property
    def unseen(self) -> set[int]:
        """All other patches' positions in the vision tower."""
        first = int(self.has_class_token)
        return set(range(first, first + N_PATCHES)) - self.seen

    @property
    def cls(self) -> set[int]:
        """The class token's position in the vision tower."""
        return {0} if self.has_class_token else set()


def rows_of(family: str, given: dict[str, Tensor], n_positions: int | None = None) -> list[Row]:
    """Each row's positions, counted from ids and mask; those beyond the prompt are generated."""
    config, n_prompt = checkpoint(family).config, given["input_ids"].shape[1]
    has_class_token = config.vision_config.model_type == "clip_vision_model"
    n_kept = int(has_class_token and config.vision_feature_select_strategy == "full")
    rows = []
    for number, (ids, is_real) in enumerate(
        zip(given["input_ids"].tolist(), given["attention_mask"].tolist(), strict=True)
    ):
        places = [place for place, token in enumerate(ids) if token == IMAGE_TOKEN]
        rows.append(
            Row(
                number,
                tuple(places[n_kept:]),
                tuple(places[:n_kept]),
                frozenset(p for p in range(n_prompt) if is_real[p] and p not in places),
                n_prompt - 1,
                frozenset(range(n_prompt, n_positions or n_prompt)),
                has_class_token,
            )
        )
    return rows


Blocks = Callable[[Row], Iterable[tuple[Iterable[int], Iterable[int]]]]
"""For a row the rectangles to block: queries and keys."""


def blocked_edges(
    rows: Iterable[Row],
    blocks: Blocks,
    layers: Iterable[int],
    heads: Iterable[int] | None = None,
    tower: str = "decoder",
) -> set[Edge]:
    """The edges of some rectangles in every row; all heads for None."""
    chosen = range(N_HEADS) if heads is None else heads
    found: set[Edge] = set()
    for row in rows:
        for queries, keys in blocks(row):
            found |= edges(tower, layers, chosen, row.number, queries, keys)
    return found


def patch_mask(patches: Iterable[int]) -> Tensor:
    """True at some patches, `[patch_row patch_col]`."""
    mask = torch.zeros(N_PATCHES, dtype=torch.bool)
    mask[list(patches)] = True
    return mask.view(GRID, GRID)
