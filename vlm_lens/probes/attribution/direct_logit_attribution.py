"""Direct logit attribution: what each part of the decoder adds to a logit, by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.attachments import Here, Read, Reader, Record
from vlm_lens.attachments.naming.hook_names import heads_of, layers_of
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import HookError, InputError
from vlm_lens.layout import Selector
from vlm_lens.model.scaled_attention import repeated_over_groups
from vlm_lens.probes.answer import Contrast, Target, check_has_vocabulary, contrasts_of, warn_of_spelling
from vlm_lens.probes.attribution.logit_attribution import LogitAttribution, attribution_of
from vlm_lens.probes.attribution.residual_ledger import Component, Page, ResidualLedger

_STREAM = ("hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post")
_READ_IN_A_LAYER = {"component": (), "head": ("hook_z",), "position": ("hook_v", "hook_pattern", "hook_z")}


@dataclass(frozen=True, eq=False)
class DirectLogitAttribution(Reader):
    """What each component adds to a logit, or to a difference of logits, directly: the parts sum to the whole.

    The stream before the unembedding is the sum of what every layer has added to it. Each addend is projected on the
    direction of the answer (the unembedding with the final norm's own weight in it) and divided by the norm's scale
    in this very run. What an addend does by way of later layers is not in it. Only the additions at the positions
    asked for are kept, as numbers where the target is named.

    Attributes:
        target: a token as a string (`" Yes"`, with the space that it has in a sentence) or id, several for their mean
            logit, `{row: target}`, or None: the token that the model itself says at each position.
        against: tokens whose mean logit is taken off, for a difference of logits.
        positions: where the logit is read; `predicting` under generation.
        by: "component": embedding, attention and MLP of each layer; "head": attention by head; "position": by the
            position that a head read from as well (needs a target; a map over the picture).
        layers: those whose attention is told apart by head or position; the others count whole.
        heads: those that are told apart; None for all.

    Source: Elhage et al., "A Mathematical Framework for Transformer Circuits", 2021; Wang et al., "Interpretability in
    the Wild", 2022 (logit differences).

    Example:
        >>> from vlm_lens import DirectLogitAttribution, HookedVLM
        >>> vlm, attribution = HookedVLM.demo(), DirectLogitAttribution()
        >>> run = vlm.run("A cat", attribution)
        >>> bool(run[attribution].error < 1e-5)
        True
    """

    target: Target = None
    against: Target = None
    positions: Selector = "last"
    by: str = "component"
    layers: Any = "all"
    heads: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by not in _READ_IN_A_LAYER:
            advice = "'component' has one number for each layer's attention and MLP." if self.by == "layer" else ""
            raise InputError(
                "DirectLogitAttribution", "by to be 'component', 'head' or 'position'", repr(self.by), advice
            )

    def hook_names(self, model: Any) -> list[str]:
        """The additions to the stream, the final norm's scale, the logits; of split layers `hook_z`, `v`, pattern."""
        check_has_vocabulary(model, self)
        names = [
            "hook_embed",
            "hook_pos_embed",
            *(f"blocks.{n}.{hook}" for n in range(model.cfg.n_layers) for hook in _STREAM),
        ]
        names += [f"blocks.{n}.attn.{hook}" for n in self._split_layers(model) for hook in _READ_IN_A_LAYER[self.by]]
        names = [name for name in model.hook_dict if name in set(names)]
        return [*names, "ln_final.hook_scale", "unembed.hook_out"]

    def check(self, ground: Ground) -> None:
        """Its positions, heads and target must exist.

        Raises:
            InputError: a target of several tokens, one that is never said, or none where one is needed.
        """
        ground.check_positions(self, ["hook_embed"])
        heads_of(self.heads, ground.model.cfg.n_heads)
        layout = ground.planned.layout
        contrasts_of(ground.model, self.target, self.against, 1 if layout is None else layout.n_rows)
        if self.by == "position" and self.target is None:
            advice = "Name the token: target=' Yes'."
            raise InputError(f"{self!r}", "a target, so that values need not be kept whole", "None", advice)

    def asked(self, ground: Ground) -> Mapping[str, Bool[Tensor, "batch pos"]] | None:
        """Its positions, at every hook but `hook_v`: values are read of all that these attend to."""
        layout = ground.planned.layout
        if layout is None:
            return None
        chosen, everything = layout.mask(self.positions), layout.mask("all")
        names = self.hook_names(ground.model)
        return {name: everything if name.endswith("hook_v") else chosen for name in names}

    @torch.no_grad()
    def read(self, activation: Tensor, here: Here) -> Any:
        """The ledger's page of a pass, at its end; for positions, patterns at the queries and values as numbers."""
        hook, layer = here.name.rsplit(".", 1)[-1], here.layer
        if hook == "hook_v":  # every position's value is wanted, asked for or not
            return self._read_values(activation, here)
        ledger = self._ledger(here)
        if not len(ledger):
            return None
        if hook == "hook_pattern":
            return ledger.pick(rearrange(activation, "batch head query key -> batch query head key"))[
                :, self._heads(here)
            ]
        if hook == "hook_z":
            assert layer is not None
            heads = self._heads(here)
            results = here.model.blocks[layer].attn.head_results(ledger.pick_as_it_is(activation)[None])[0]
            ledger.see_heads(layer, results[:, heads], tuple(heads))
            return None
        if hook == "hook_scale":
            ledger.scale = ledger.pick(activation)[:, 0]
            return None
        if here.name == "unembed.hook_out":
            return self._page(ledger, activation, here)
        ledger.see(hook, layer, activation)
        return None

    def result(self, reads: Sequence[Read], record: Record) -> LogitAttribution:
        """The contributions at every position asked for, in the order of the run.

        Raises:
            EmptySelectionError: none of these was run, as when a generation ends at once.
            HookError: a run that was stopped before its logits.
        """
        pages = [read for read in reads if isinstance(read.value, Page)]
        if not pages and record.options.get("stop_at_layer") is None:
            raise self.nothing_read()
        if not pages:
            advice = "Run it to the end: without stop_at_layer."
            raise HookError(f"{self!r} has read nothing", "a run that gives logits", "none", advice)
        sources = [read for read in reads if not isinstance(read.value, Page)]
        return attribution_of(self, [(one.here.step, one.value) for one in pages], sources, record)

    # What is kept

    def _ledger(self, here: Here) -> ResidualLedger:
        """The ledger of this pass; a new one at its first hook."""
        memo = here.current.memo
        key = ("ledger", id(self))
        if key not in memo:
            ledger = ResidualLedger.at(here, self.positions)
            if self.target is not None and len(ledger):
                contrasts = contrasts_of(here.model, self.target, self.against, here.batch)
                ledger.directions = directions_of(here.model, [contrasts[row] for row in ledger.rows.tolist()])
            memo[key] = ledger
        found: ResidualLedger = memo[key]
        return found

    def _page(self, ledger: ResidualLedger, logits: Float[Tensor, "batch pos d_vocab"], here: Here) -> Page:
        """The ledger closed, against the logits themselves."""
        at_queries = ledger.pick(logits)
        contrasts = contrasts_of(here.model, self.target, self.against, here.batch)
        settled = [contrasts[row].settled(one) for row, one in zip(ledger.rows.tolist(), at_queries, strict=True)]
        if here.step == 0:
            warn_of_spelling(here.model, self.target, self.against, logits=at_queries)
        directions = directions_of(here.model, settled)
        assert ledger.scale is not None
        scale = ledger.scale.to(directions.device)
        values = ledger.along(directions) / scale[:, None]
        bias = torch.stack([_bias(here.model, one) for one in settled])
        columns = (*ledger.entries, Component("bias"))
        explained = torch.stack([one.of(logit) for one, logit in zip(settled, at_queries, strict=True)])
        return Page(
            ledger.rows.cpu(), ledger.columns.cpu() + here.span.start, columns,
            torch.cat([values, bias[:, None]], dim=-1).cpu(), explained.cpu(), tuple(settled), scale.cpu(),
        )  # fmt: skip

    def _read_values(self, v: Float[Tensor, "batch pos kv_head d_head"], here: Here) -> Float[Tensor, "batch pos head"]:
        """What a unit of attention to each position would add, by head."""
        assert here.layer is not None
        contrasts = contrasts_of(here.model, self.target, self.against, here.batch)
        attention = here.model.blocks[here.layer].attn
        wanted = through_output(attention, directions_of(here.model, list(contrasts)).to(v.device))
        values = rearrange(v, "batch pos head d_head -> batch head pos d_head")
        values = repeated_over_groups(values, wanted.shape[1]).to(wanted.dtype)
        moved = einsum(values, wanted, "batch head pos d_head, batch head d_head -> batch pos head")
        return moved[:, :, self._heads(here)]

    def _heads(self, here: Here) -> list[int]:
        n_heads = here.model.cfg.n_heads
        chosen = heads_of(self.heads, n_heads)
        return list(range(n_heads) if chosen is None else chosen)

    def _split_layers(self, model: Any) -> tuple[int, ...]:
        return layers_of(self.layers, model.cfg.n_layers, on_empty=self.on_empty)


def directions_of(model: Any, contrasts: Sequence[Contrast]) -> Float[Tensor, "query d_model"]:
    """For each contrast the direction of the stream that raises it, times the final norm's scale.

    The norm's weight is in it, and where the norm subtracts the mean, so is that.
    """
    kinds = {one: _direction(model, one) for one in set(contrasts)}
    return torch.stack([kinds[one] for one in contrasts])


def _direction(model: Any, contrast: Contrast) -> Float[Tensor, " d_model"]:
    norm, device = model.ln_final, model.ln_final.w.device
    direction = _unembedding(model, contrast).to(device)
    direction = direction * norm.w.to(direction.dtype)
    return direction - direction.mean() if norm.kind == "LN" else direction


def _unembedding(model: Any, contrast: Contrast) -> Float[Tensor, " d_model"]:
    ids = [*contrast.plus, *contrast.minus]
    columns = model.unembed.W_U[:, ids]
    columns = columns.to(torch.promote_types(columns.dtype, torch.float32))
    n_plus = len(contrast.plus)
    return Contrast(tuple(range(n_plus)), tuple(range(n_plus, len(ids)))).of(columns)


def _bias(model: Any, contrast: Contrast) -> Float[Tensor, ""]:
    """What the final norm's bias and the unembedding's add to a contrast."""
    direction = _unembedding(model, contrast)
    bias = contrast.of(model.unembed.b_U.to(direction.dtype))
    own = model.ln_final.b
    total = bias if own is None else bias + own.to(direction.device, direction.dtype) @ direction
    return total.to(model.ln_final.w.device)


def through_output(
    attention: Any, directions: Float[Tensor, "query d_model"]
) -> Float[Tensor, "query head_index d_head"]:
    """For each head the direction of its `z` that moves the stream in a direction; quantised linears included."""
    n_heads, d_head = attention.cfg.n_heads, attention.cfg.d_head
    dtype = attention.cfg.dtype
    z = torch.zeros(len(directions), n_heads * d_head, dtype=dtype, device=directions.device)
    with torch.inference_mode(False), torch.enable_grad():
        z = z.clone().requires_grad_()
        moved = (attention.o_proj(z).to(directions.dtype) * directions.clone()).sum()
        (gradient,) = torch.autograd.grad(moved, z)
    return rearrange(gradient.to(directions.dtype), "query (head d_head) -> query head d_head", head=n_heads)
