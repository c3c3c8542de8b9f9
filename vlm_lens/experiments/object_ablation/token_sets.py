"""Which tokens of a picture are ablated: table 1's rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vlm_lens.errors import InputError
from vlm_lens.estimates import Mean
from vlm_lens.experiments.context import Context
from vlm_lens.interventions import MeanAblation
from vlm_lens.layout import ImageSpan, Region

OBJECT, BUFFER_1, BUFFER_2, REGISTER = "Object", "+ 1 Buffer", "+ 2 Buffer", "Register tokens"
GRADIENTS, RANDOM = "Int. Gradients", "Random"
OF_OBJECT = (OBJECT, BUFFER_1, BUFFER_2)

PAPER_PATCHES = 576

Count = tuple[int | None, str, int]
"""The table's number, the kind of set that has as many, and how many tokens that is in a picture."""


@dataclass(frozen=True)
class TokenSet:
    """Some tokens that are ablated together.

    Attributes:
        kind: how they were chosen, as in table 1.
        count: how many the table asks for; None for the object's and the register tokens.
        like: the kind that has as many in this picture; "" where the table says how many.
        patches: numbered row by row.
        takes_text: whether the text token behind the picture is one of them.
    """

    kind: str
    count: int | None
    like: str
    patches: frozenset[int]
    takes_text: bool = False

    @property
    def name(self) -> str:
        """Tells it from the other sets of a picture."""
        return f"{self.kind} like {self.like}" if self.like else f"{self.kind} {self.count or ''}".strip()

    @property
    def n_tokens(self) -> int:
        """How many."""
        return len(self.patches) + self.takes_text

    def ablated(self, span: ImageSpan, mean: Mean) -> MeanAblation:
        """The mean in their places, where the decoder is given the picture.

        Args:
            span: where the picture stands in the prompt.
            mean: of projector outputs, one vector.
        """
        region = Region(span, 0, self.patches)
        if not self.takes_text:
            return MeanAblation(region, mean)
        # A text token has no place at the projector.
        return MeanAblation([*region.positions, span.stop], mean.value, hook="hook_embed")


def object_sets(found: Region) -> list[TokenSet]:
    """The object's patches, alone and with one and two neighbours all around."""
    return [
        TokenSet(kind, None, "", found.dilate(n).patch_ids if n else found.patch_ids)
        for n, kind in enumerate(OF_OBJECT)
    ]


def gradient_sets(ranking: Sequence[int], n_patches: int, wanted: Iterator[Count]) -> list[TokenSet]:
    """The tokens that gradients rank first.

    Args:
        ranking: tokens, best first; `n_patches` itself stands for the text token behind the picture.
        n_patches: of the picture.
        wanted: see `wanted_counts`.
    """
    sets = []
    for count, like, n in wanted:
        best = frozenset(ranking[:n])
        sets.append(TokenSet(GRADIENTS, count, like, best - {n_patches}, n_patches in best))
    return sets


def random_pool(found: Region, excludes_object: bool) -> frozenset[int]:
    """The patches that random tokens are drawn from: all of the picture, or those beside the object's."""
    return (~found).patch_ids if excludes_object else frozenset(range(found.span.grid.n_patches))


def random_sets(context: Context, example: str, pool: frozenset[int], wanted: Iterator[Count]) -> list[TokenSet]:
    """Tokens drawn without replacement; none where there are too few to draw from.

    Args:
        context: gives the draws, each of its own.
        example: the example's id.
        pool: the patches to draw from.
        wanted: see `wanted_counts`.
    """
    sets = []
    for count, like, n in wanted:
        if n <= len(pool):
            chosen = context.random(example, "random tokens", count, like).choice(sorted(pool), n, replace=False)
            sets.append(TokenSet(RANDOM, count, like, frozenset(np.asarray(chosen).tolist())))
    return sets


def wanted_counts(
    counts: Sequence[int], n_patches: int, large_counts: str, like: Sequence[TokenSet] = ()
) -> Iterator[Count]:
    """How many tokens are ablated: the table's number, the kind that has as many, and the number in this picture.

    Args:
        counts: the table's numbers, for 576 patches.
        n_patches: of the picture.
        large_counts: "left out": numbers above `n_patches` are; "scaled": each is the same share of the patches.
        like: sets that have as many.

    Raises:
        InputError: another way with large counts, or a count below 1.

    Example:
        >>> list(wanted_counts((5, 250), 144, "left out")), list(wanted_counts((5, 250), 144, "scaled"))
        ([(5, '', 5)], [(5, '', 1), (250, '', 62)])
    """
    if large_counts not in ("left out", "scaled"):
        raise InputError("Option 'large_counts'", "'left out' or 'scaled'", repr(large_counts))
    for count in counts:
        if count < 1:
            raise InputError("Option 'counts'", "numbers of 1 or more", count)
        n = count if large_counts == "left out" else max(1, round(count * n_patches / PAPER_PATCHES))
        if n <= n_patches:
            yield count, "", n
    for one in like:
        yield None, one.kind, one.n_tokens
