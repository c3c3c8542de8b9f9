"""The compressed context: tokens that see only the image tokens which an earlier run ranked highest."""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.attachments import EdgeBlocker
from vlm_lens.attachments.edge_blocker import rectangle
from vlm_lens.attachments.running.current_pass import Sequences
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import EmptySelectionError, InputError
from vlm_lens.layout import Selector

ORDERS = ("top", "bottom", "random")


@dataclass(frozen=True, eq=False)
class TopKContext(EdgeBlocker):
    """Blocks attention to all but the highest-ranked image tokens, chosen layer by layer.

    Of n image tokens `n_kept(fraction, n)` stay visible, the fraction rounded down: 5% of 576 are 28. Text stays
    visible. With `fraction=1.0` nothing is blocked, and the run is the plain one.

    Attributes:
        fraction: of a row's image tokens, more than 0 and at most 1.
        ranking: how much each image token was looked at, `[layer image_pos]`, or `[batch layer image_pos]` to rank
            each row apart (a row without a picture may be NaN throughout); image positions in the order of the
            sequence, all layers of the decoder. A result of `AttentionFlow` gives its `image_attention`. Of equal
            values the earlier position ranks higher.
        queries: the positions that see less; `predicting` are the rows that produce the generated tokens, the first
            one too (`generated` leaves that one to see everything, as code that blocks single decode steps does).
        layers: "all", a range, a list, or a tuple of two depths such as `(0.5, 1.0)`.
        order: "top"; as controls the lowest-ranked ("bottom", ties to the earlier position again), or as many drawn
            at "random", for each row and layer anew.
        seed: of the random draw.

    Raises:
        InputError: a fraction outside (0, 1], a ranking of another shape or with NaN.
        EmptySelectionError: before the run, for a prompt without image tokens, or so few that the fraction keeps none.

    Source: Kaduri, Bagon and Dekel, "What's in the Image? A Deep-Dive into the Vision of Vision Language Models", 2025,
    section 5 and figure 9.

    Example:
        >>> import torch
        >>> from vlm_lens import TopKContext
        >>> TopKContext(0.05, torch.rand(32, 576), layers=range(4, 20))
        TopKContext(fraction=0.05, ranking=Tensor(32, 576), layers=range(4, 20))
    """

    fraction: float
    ranking: Any
    _: KW_ONLY
    queries: Selector = "predicting"
    layers: Any = "all"
    order: str = "top"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self.fraction, "fraction", with_zero=False)
        object.__setattr__(self, "ranking", checked_ranking(self.ranking))  # a probe's result becomes its tensor
        if self.order not in ORDERS:
            raise InputError("order", f"one of {', '.join(ORDERS)}", repr(self.order))

    def edges_differ_by_layer(self) -> bool:
        """Every layer has its own ranking."""
        return True

    def check(self, ground: Ground) -> None:
        """As every blocker of edges, but that a fraction of 1 may block nothing; and the ranking must fit.

        Raises:
            InputError: a ranking of other layers, rows or image tokens than will be run.
            EmptySelectionError: no image tokens, or too few for the fraction to keep one.
        """
        sequences = ground.sequences_at(self.hook_names(ground.model)[0])
        if sequences is not None:
            self._check_fit(sequences.mask("image"), ground.model.cfg.n_layers)
        if self.fraction < 1.0:
            return super().check(ground)
        return super(EdgeBlocker, self).check(ground)

    def blocked(self, layer: int, sequences: Sequences, queries: range) -> Bool[Tensor, "batch query_pos key_pos"]:
        """Every edge from the queries to image tokens that are not kept in this layer."""
        if sequences not in self._masks:
            self._masks[sequences] = sequences.mask(self.queries), sequences.mask("image")
        is_query, is_image = self._masks[sequences]
        is_hidden, is_kept = is_image.clone(), self._is_kept(len(is_image))
        for row, is_mine in enumerate(is_image):
            if is_mine.any():
                is_hidden[row, is_mine] = ~is_kept[row, layer]
        return rectangle(is_query[:, queries.start : queries.stop], is_hidden[:, : queries.stop])

    def losing(self, layer: int, sequences: Sequences) -> Bool[Tensor, "batch query_pos"]:
        """The queries that come after an image token."""
        return sequences.mask(self.queries) & sequences.mask("image").cummax(dim=1).values

    def expected(self, layer: int, sequences: Sequences, row: int) -> list[tuple[Any, Any]] | None:
        """Queries and the image tokens that they lose, token by token, for `run.verify()`; None for a random draw."""
        if self.order == "random":
            return None
        of_row = self.ranking[row] if self.ranking.ndim == 3 else self.ranking
        image, ranks = sequences.positions("image", row), of_row[layer].tolist()
        sign = -1 if self.order == "top" else 1
        order = sorted(range(len(image)), key=lambda place: (sign * ranks[place], place))
        kept = set(order[: int(self.fraction * len(image) + 1e-9)])
        hidden = [position for place, position in enumerate(image) if place not in kept]
        return [(sequences.positions(self.queries, row), hidden)]

    def _is_kept(self, n_rows: int) -> Bool[Tensor, "batch layer image_pos"]:
        """What stays visible; worked out once."""
        if n_rows not in self._kept:
            # One ranking is the same in all rows, but chance draws for each.
            n_ranked = n_rows if self.order == "random" else 1
            ranking = self.ranking if self.ranking.ndim == 3 else self.ranking[None].expand(n_ranked, -1, -1)
            kept = kept_tokens(ranking, n_kept(self.fraction, ranking.shape[-1]), self.order, self.seed)
            self._kept[n_rows] = kept.expand(n_rows, -1, -1)
        return self._kept[n_rows]

    @cached_property
    def _kept(self) -> dict[int, Tensor]:
        """What stays visible, by the number of rows."""
        return {}

    def _of_row(self, row: int) -> Float[Tensor, "layer image_pos"]:
        ranking: Tensor = self.ranking
        return ranking[row] if ranking.ndim == 3 else ranking

    @cached_property
    def _masks(self) -> "WeakKeyDictionary[Sequences, tuple[Tensor, Tensor]]":
        """Queries and image tokens of each layout, shared by its layers and gone with it."""
        return WeakKeyDictionary()

    def _check_fit(self, is_image: Bool[Tensor, "batch pos"], n_layers: int) -> None:
        counts = is_image.sum(dim=1).tolist()
        if not any(counts):
            raise EmptySelectionError(f"{self!r} blocks nothing", "a prompt with image tokens", "none")
        rows = [self.ranking.shape[0]] if self.ranking.ndim == 3 else []
        expected = [*([len(counts)] if rows else []), n_layers, max(counts)]
        if list(self.ranking.shape) != expected or set(counts) - {0, max(counts)}:
            shown = f"{expected} ({'batch ' if rows else ''}layer image_pos), {n_images_shown(counts)}"
            advice = "Take it from a run of the same prompts; rows with different numbers of images are run apart."
            raise InputError("Ranking does not fit the inputs", shown, list(self.ranking.shape), advice)
        unranked = [row for row, count in enumerate(counts) if count and not self._of_row(row).isfinite().all()]
        if unranked:
            raise InputError("Ranking", f"finite values for each row with a picture ({counts})", f"NaN in {unranked}")
        if n_kept(self.fraction, max(counts)) == 0:
            advice = "AttentionKnockout(queries, 'image') blocks them all."
            rule = f"a fraction of at least 1 / {max(counts)}"
            raise EmptySelectionError(f"{self!r} keeps no image token", rule, self.fraction, advice)


def n_kept(share: float, n_tokens: int) -> int:
    """How many of some tokens a share keeps: rounded down, as the paper does, but not by an error of the product.

    >>> n_kept(0.05, 576), n_kept(0.29, 100), n_kept(1.0, 7)
    (28, 29, 7)
    """
    return int(share * n_tokens + 1e-9)


def kept_tokens(
    ranking: Float[Tensor, "*rows image_pos"], n: int, order: str = "top", seed: int = 0
) -> Bool[Tensor, "*rows image_pos"]:
    """True at the n image tokens to keep in each row of a ranking; of equal ones the earlier position is taken."""
    if order == "random":
        ranking = torch.rand(ranking.shape, generator=torch.Generator().manual_seed(seed))
    places = ranking.sort(dim=-1, descending=order != "bottom", stable=True).indices
    kept = torch.zeros(ranking.shape, dtype=torch.bool)
    return kept.scatter(-1, places[..., :n], True)


def checked_ranking(ranking: Any) -> Float[Tensor, "..."]:
    """A ranking as a tensor of its own in memory, from a tensor, an array or a result that has `image_attention`.

    Raises:
        InputError: something else, of another number of axes, or with NaN or infinite values.
    """
    values = getattr(ranking, "image_attention", ranking)
    try:
        values = torch.as_tensor(values).detach().cpu().float().clone()
    except (TypeError, ValueError, RuntimeError):
        rule = "a tensor [layer image_pos] or [batch layer image_pos], or a result of AttentionFlow"
        raise InputError("Ranking is not understood", rule, type(ranking).__name__) from None
    if values.ndim not in (2, 3) or values.numel() == 0:
        raise InputError("Ranking", "[layer image_pos] or [batch layer image_pos]", list(values.shape))
    is_unranked = values.isnan().flatten(1).all(dim=1)[:, None, None] if values.ndim == 3 else torch.tensor(False)
    is_wrong = ~values.isfinite() & ~is_unranked
    if bool(is_wrong.any()):
        raise InputError("Ranking", "finite values", f"{int(is_wrong.sum())} that are not")
    return values


def check_share(share: Any, name: str, with_zero: bool) -> None:
    """Raise for what is no share of tokens.

    Raises:
        InputError: with the bounds.
    """
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    if not is_number or not 0 <= share <= 1 or (share == 0 and not with_zero):
        rule = f"a share {'from' if with_zero else 'above'} 0 {'to' if with_zero else 'and up to'} 1"
        raise InputError(name, rule, repr(share), "5% are 0.05.")


def n_images_shown(counts: list[int]) -> str:
    """The image tokens of each row, in words."""
    return f"for rows with {', '.join(map(str, counts[:8]))} image tokens"
