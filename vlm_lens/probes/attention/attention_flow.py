"""Where attention goes: the share that each query gives to each role or region, and to each image token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from einops import einsum, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_lens.attachments import Here, Read, Reader, Record
from vlm_lens.attachments.naming.hook_names import heads_of, hooks_in_layers
from vlm_lens.attachments.naming.towers import tower_named
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import InputError
from vlm_lens.layout import Selector
from vlm_lens.probes.attention.flow_reading import FlowReading
from vlm_lens.probes.attention.key_groups import KeyGroups
from vlm_lens.probes.named_groups import named_groups

Pattern = Float[Tensor, "batch head_index query_pos key_pos"]


class Asked(NamedTuple):
    """What is wanted of the patterns of one pass, the same in all its layers.

    Attributes:
        rows: of each query.
        columns: where each query stands among those that are shown.
        heads: which; None for all.
        membership: 1 where a key belongs to a group.
        image_index: the image positions of each row, in order.
        has_image: False where a row has fewer of them than another.
        places: the rows and positions of the queries, on the CPU.
    """

    rows: Int[Tensor, " query"]
    columns: Int[Tensor, " query"]
    heads: Int[Tensor, " head"] | None
    membership: Float[Tensor, "batch key_pos group"]
    image_index: Int[Tensor, "batch image_pos"]
    has_image: Bool[Tensor, "batch image_pos"]
    places: tuple[Int[Tensor, " query"], Int[Tensor, " query"]]


class FlowRead(NamedTuple):
    """What is kept of one layer's pattern in one pass."""

    rows: Int[Tensor, " query"]
    positions: Int[Tensor, " query"]
    shares: Float[Tensor, "query head group"]
    maps: Float[Tensor, "query head image_pos"]


@dataclass(frozen=True, eq=False)
class AttentionFlow(Reader):
    """The share of attention that each query gives to each group of keys, per layer and head, and to each image token.

    Patterns are reduced layer by layer, as they pass; knockouts and other writers of mask, scores or pattern are in
    force before. A query's shares sum to 1 (up to the rounding of the model's dtype). `run[flow]` is a `FlowReading`.

    Attributes:
        queries: whose attention; `predicting` are the rows that produce the generated tokens. For the vision tower
            say `"cls"`, `"patches"` or a region.
        groups: a name for each selector of keys, or a list of these, such as `["image", "question"]`; None for every
            role that occurs (`cls` and `patches` in the vision tower). They may not overlap.
        layers: "all", a range, a list, or a tuple of two depths such as `(0.5, 1.0)`.
        heads: which; None for all.
        tower: "decoder", "vision" or "text".
        keeps: "mean" over the heads, or every head: "heads".
        rest: what is in no group: one group "other", or told apart by its "roles".

    Source: Kaduri et al., "What's in the Image?", 2025, section 4.1 and figures 1, 4, 6 and 8.

    Example:
        >>> from vlm_lens import AttentionFlow
        >>> AttentionFlow(groups={"image": "image", "text": "text"})
        AttentionFlow(groups={'image': 'image', 'text': 'text'})
    """

    queries: Selector = "predicting"
    groups: Any = None
    layers: Any = "all"
    heads: Any = None
    tower: Literal["decoder", "vision", "text"] = "decoder"
    keeps: str = "mean"
    rest: str = field(default="other", kw_only=True)

    is_local: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keeps not in ("mean", "heads"):
            raise InputError("AttentionFlow", "keeps to be 'mean' or 'heads'", repr(self.keeps))
        if self.rest not in ("other", "roles"):
            raise InputError("AttentionFlow", "rest to be 'other' or 'roles'", repr(self.rest))
        self.key_groups.check_names("AttentionFlow")

    @property
    def key_groups(self) -> KeyGroups:
        """The groups given, and the rest."""
        groups = {} if self.groups is None else named_groups(self.groups)
        return KeyGroups(groups, self.rest)

    def hook_names(self, model: Any) -> list[str]:
        """The pattern of each of its layers."""
        return hooks_in_layers(tower_named(model, self.tower), "attn.hook_pattern", self.layers, self.on_empty)

    def check(self, ground: Ground) -> None:
        """As every attachment; and the groups must occur and keep apart.

        Raises:
            EmptySelectionError: queries or a group that means no position.
            PositionError: groups that overlap.
        """
        super().check(ground)
        sequences = ground.sequences_at(self.hook_names(ground.model)[0])
        if sequences is not None:
            self.key_groups.check(self, sequences, self.on_empty)

    def asked(self, ground: Ground) -> Mapping[str, Bool[Tensor, "batch pos"]] | None:
        """The queries, in each of its layers."""
        names = self.hook_names(ground.model)
        sequences = ground.sequences_at(names[0])
        return None if sequences is None else dict.fromkeys(names, sequences.mask(self.queries))

    def read(self, activation: Pattern, here: Here) -> FlowRead | None:
        """The shares and the image tokens' weights of the queries that this pass runs."""
        key = ("flow", id(self), here.columns, here.device)
        if key not in here.current.memo:
            here.current.memo[key] = self._of_pass(here, activation.shape[1])
        asked: Asked = here.current.memo[key]
        if not len(asked.rows):
            return None
        weights = self.weights(activation.detach(), here, asked)
        shares = einsum(weights, asked.membership[asked.rows], "query head key, query key group -> query head group")
        index = repeat(asked.image_index[asked.rows], "query image -> query head image", head=weights.shape[1])
        has_image = repeat(asked.has_image[asked.rows], "query image -> query head image", head=weights.shape[1])
        maps = weights.gather(-1, index).masked_fill(~has_image, torch.nan)
        return FlowRead(*asked.places, shares, maps)

    def weights(self, pattern: Pattern, here: Here, asked: Asked) -> Float[Tensor, "query head key_pos"]:
        """The attention of the queries asked for: of each head, or the heads' mean."""
        of_queries = pattern[asked.rows, :, asked.columns]
        of_heads = (of_queries if asked.heads is None else of_queries[:, asked.heads]).float()
        return of_heads.mean(dim=1, keepdim=True) if self.keeps == "mean" else of_heads

    def result(self, reads: Sequence[Read], record: Record) -> FlowReading:
        """The `FlowReading` of a run.

        Raises:
            EmptySelectionError: none of the queries was run, as when a generation ends at once.
        """
        if not reads:
            raise self.nothing_read()
        here = reads[0].here
        layers = tuple(dict.fromkeys(int(read.here.layer) for read in reads))  # type: ignore[arg-type]
        values = [_joined([read.value for read in reads if read.here.layer == layer]) for layer in layers]
        sequences = here.sequences if here.place == "vision" or record.layout is None else record.layout
        rows, positions = values[0].rows, values[0].positions
        # In the order of rows, and without what is padding or was run only because other rows went on.
        is_counted = (record.counted() if sequences is record.layout else sequences.mask("all"))[rows, positions]
        order = torch.argsort(rows * sequences.n_positions + positions)
        kept = order[is_counted[order]]
        if not len(kept):
            raise self.nothing_read()
        numbers, names = self.key_groups.names(sequences)
        n_heads = tower_named(record.model, self.tower).transformer.cfg.n_heads
        return FlowReading(
            shares=torch.stack([one.shares[kept][..., list(numbers)] for one in values]),
            maps=torch.stack([one.maps[kept] for one in values]),
            layers=layers,
            heads=None if self.keeps == "mean" else heads_of(self.heads, n_heads) or tuple(range(n_heads)),
            groups=names,
            rows=rows[kept],
            positions=positions[kept],
            sequences=sequences,
            pictures=record.pictures,
            images=record.images,
        )

    def _of_pass(self, here: Here, n_heads: int) -> Asked:
        """Worked out on the CPU, where the layout is: the device is not waited for."""
        rows, columns = here.held(here.sequences.mask(self.queries)).nonzero(as_tuple=True)
        is_image = here.sequences.mask("image")[:, : here.n_keys]
        # A stable sort puts the image positions first and keeps their order.
        image_index = (~is_image).int().argsort(dim=1, stable=True)[:, : int(is_image.sum(dim=1).max())]
        membership = self.key_groups.membership(here.sequences)[:, : here.n_keys].float()
        chosen = heads_of(self.heads, n_heads)
        return Asked(
            rows.to(here.device),
            columns.to(here.device),
            None if chosen is None else torch.tensor(chosen, dtype=torch.long, device=here.device),
            membership.to(here.device),
            image_index.to(here.device),
            is_image.gather(1, image_index).to(here.device),
            (rows, torch.tensor(here.positions, dtype=torch.long)[columns]),
        )


def _joined(steps: Sequence[FlowRead]) -> FlowRead:
    """One layer's reads of all passes in one."""
    return FlowRead(*(torch.cat([part.cpu() for part in parts]) for parts in zip(*steps, strict=True)))
