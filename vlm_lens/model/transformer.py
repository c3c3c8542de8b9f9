"""One hooked transformer for every tower: decoder, vision tower, text tower."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vlm_lens.errors import InputError
from vlm_lens.inputs.entries import entries_of
from vlm_lens.model.block import TransformerBlock
from vlm_lens.model.cache import ActivationCache
from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.embed import Embed, PatchEmbed, PosEmbed, Unembed
from vlm_lens.model.full_cache import FullCache
from vlm_lens.model.generates import Generates
from vlm_lens.model.hook_point import HookPoint
from vlm_lens.model.key_value_cache import KeyValueCache
from vlm_lens.model.loss import follows_a_token, next_token_loss
from vlm_lens.model.norm import Norm
from vlm_lens.model.parts import TransformerParts
from vlm_lens.model.positions import Positions
from vlm_lens.model.rotary import RotaryAngles
from vlm_lens.model.vocabulary import Vocabulary
from vlm_lens.model.weights import StackedWeights

ReturnType = Literal["logits", "loss", "both"] | None


class HookedTransformer(FullCache, StackedWeights, Vocabulary, Generates):
    """A transformer rebuilt around a checkpoint's own modules, with TransformerLens's names, shapes and verbs.

    The weights are the checkpoint's own parameters, not copies. Attention runs fused wherever nobody rewrites its
    scores or pattern; an idle hook costs nothing.

    Args:
        cfg: the tower's shape.
        parts: the checkpoint's modules.
        tokenizer: turns text into tokens, where the tower reads text.
    """

    cfg: TransformerConfig

    def __init__(self, cfg: TransformerConfig, parts: TransformerParts, tokenizer: Any = None) -> None:
        super().__init__()
        self.cfg, self.tokenizer = cfg, tokenizer
        kind: Literal["LN", "RMS"] = "LN" if cfg.normalization_type == "LN" else "RMS"
        if cfg.input_type == "pixels":
            self.embed = PatchEmbed(cfg, parts)
            self.hook_patch_embed = HookPoint()
            self.ln_pre = None if parts.ln_pre is None else Norm(parts.ln_pre, kind, cfg.eps)
        else:
            assert parts.tokens is not None
            self.embed = Embed(parts.tokens)
        self.hook_embed = HookPoint()
        if cfg.input_type == "tokens" and parts.positions is not None:
            self.pos_embed = PosEmbed(parts.positions)
            self.hook_pos_embed = HookPoint()
        self.rotary = parts.rotary
        self.blocks = nn.ModuleList(TransformerBlock(cfg, block) for block in parts.blocks)
        self.ln_final = Norm(parts.ln_final, kind, cfg.eps)
        if parts.unembed is not None:
            self.unembed = Unembed(parts.unembed, cfg.d_vocab)
        self.take_mode_of(parts.ln_final)
        self.setup()

    def forward(
        self,
        input: Any,
        return_type: ReturnType = "logits",
        *,
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
        attention_mask: Tensor | None = None,
        past: KeyValueCache | None = None,
        prepend_bos: bool | None = None,
        loss_per_token: bool = False,
        only_last: bool = False,
    ) -> Any:
        """Run the tower.

        Args:
            input: text, texts, tokens `[batch pos]`, a mapping of `input_ids` and `attention_mask`, pixels `[image
                channel height width]` for a vision tower, or with `start_at_layer` the stream `[batch pos d_model]` to
                enter there.
            return_type: "logits" `[batch pos d_vocab]`, "loss" (mean next-token cross-entropy in nats, padding left
                out), "both" as a tuple, or None. A tower without unembedding gives its normed stream for "logits".
            start_at_layer: the first block to run; negative counts from the end.
            stop_at_layer: the first block not to run; the stream before it is returned.
            attention_mask: `[batch pos]`, nonzero where a token is real; None if all are.
            past: keys and values of earlier positions; extended by this run.
            prepend_bos: for text, see `to_tokens`.
            loss_per_token: give the loss of each position instead of the mean.
            only_last: unembed the last position alone.

        Raises:
            InputError: for an input that this tower cannot take.
        """
        check_request(return_type, stop_at_layer, only_last)
        stream, tokens, is_real = self._entered(input, start_at_layer, attention_mask, past, prepend_bos)
        stream = self._through_blocks(stream, is_real, past, start_at_layer, stop_at_layer)
        if stop_at_layer is not None:
            return stream
        is_target = None if is_real is None else follows_a_token(is_real)
        return self._finished(stream, return_type, tokens, is_target, loss_per_token, only_last)

    def _entered(
        self, input: Any, start_at_layer: int | None, mask: Tensor | None, past: KeyValueCache | None, bos: bool | None
    ) -> tuple[Tensor, Tensor | None, Bool[Tensor, "batch pos"] | None]:
        """The stream at the first block to run, the tokens where known, and which positions are real."""
        if isinstance(input, Mapping):
            entries = entries_of(input, self.cfg.n_ctx)
            if entries.pixel_values is not None:
                raise InputError("Input of the transformer", "tokens", "pixel_values too", "A tower alone takes one.")
            input, mask = entries.input_ids, mask if "attention_mask" not in input else entries.attention_mask
        if isinstance(input, str | list):
            input, is_token = self.padded_tokens(input, bos)
            mask = is_token if mask is None else mask
        if not isinstance(input, Tensor):
            got = type(input).__name__
            raise InputError("Input of the transformer", "text, tokens, pixels or a residual stream", got)
        is_real = None if mask is None or bool(mask.all()) else mask.bool()
        if start_at_layer is not None:
            if input.ndim != 3 or not input.is_floating_point():
                expected = "with start_at_layer a stream [batch pos d_model]"
                raise InputError("Input of the transformer", expected, f"{input.dtype} {tuple(input.shape)}")
            return input, None, is_real
        if self.cfg.input_type == "pixels":
            return self._embedded_pixels(input), None, None
        tokens = self._checked_tokens(input, past)
        return self._embedded_tokens(tokens, is_real, past), tokens, is_real

    def _checked_tokens(self, tokens: Tensor, past: KeyValueCache | None) -> Int[Tensor, "batch pos"]:
        """Tokens with a batch axis, on the embedding's device, that fit the context."""
        if tokens.is_floating_point() or tokens.ndim not in (1, 2):
            got = f"{tokens.dtype} {tuple(tokens.shape)}"
            raise InputError("Tokens are not understood", "integers [batch pos]", got, "A stream needs start_at_layer.")
        n_positions = tokens.shape[-1] + (0 if past is None else past.next_position)
        if n_positions > self.cfg.n_ctx:
            raise InputError("Prompt is longer than the context", f"at most {self.cfg.n_ctx} positions", n_positions)
        tokens = tokens if tokens.ndim == 2 else tokens[None]
        return tokens.to(self.embed.W_E.device)

    def _embedded_tokens(
        self, tokens: Int[Tensor, "batch pos"], is_real: Tensor | None, past: KeyValueCache | None
    ) -> Float[Tensor, "batch pos d_model"]:
        stream = self.hook_embed(self.embed(tokens))
        if "pos_embed" not in self._modules:
            return stream
        batch, n_new = tokens.shape
        ids = Positions.after(past, batch, n_new, is_real, tokens.device).ids
        return stream + self.hook_pos_embed(self.pos_embed(ids).expand_as(stream))

    def _embedded_pixels(self, pixels: Tensor) -> Float[Tensor, "image pos d_model"]:
        stream = self.embed.placed(self.hook_patch_embed(self.embed(pixels)))
        return self.hook_embed(stream if self.ln_pre is None else self.ln_pre(stream))

    def _through_blocks(
        self,
        stream: Float[Tensor, "batch pos d_model"],
        is_real: Bool[Tensor, "batch pos"] | None,
        past: KeyValueCache | None = None,
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """The stream after the blocks from `start_at_layer` up to, not including, `stop_at_layer`."""
        layers = self._layers(start_at_layer, stop_at_layer, past)
        batch, n_new = stream.shape[:2]
        positions = Positions.after(past, batch, n_new, is_real, stream.device)
        angles = None if self.rotary is None else RotaryAngles.of(*self.rotary(stream, positions.ids))
        masks = positions.masks(self.cfg)
        for layer in layers:
            block = cast(TransformerBlock, self.blocks[layer])
            device = block.ln1.w.device
            if stream.device != device:  # a checkpoint spread over devices
                stream, angles = stream.to(device), angles if angles is None else angles.to(device)
                masks = {window: mask.to(device) for window, mask in masks.items()}
            layer_past = None if past is None else past.layers[layer]
            stream = block(stream, masks[self.cfg.window_sizes[layer]], angles, layer_past)
        if past is not None:
            past.hold(positions.n_before + positions.n_new, positions.is_real)
        return stream

    def _layers(self, start: int | None, stop: int | None, past: KeyValueCache | None) -> range:
        """The blocks to run.

        Raises:
            InputError: for a layer that the tower has not, or part of the layers with a key-value cache.
        """
        n_layers = self.cfg.n_layers
        for name, layer in (("start_at_layer", start), ("stop_at_layer", stop)):
            if layer is not None and not -n_layers <= layer <= n_layers:
                raise InputError(f"{name} is outside the model", f"from {-n_layers} to {n_layers}", layer)
        layers = range(n_layers)[start:stop]
        if past is not None and len(layers) < n_layers:
            advice = "Leave out past, start_at_layer or stop_at_layer."
            raise InputError("Key-value cache needs every layer", f"all {n_layers} layers", f"{len(layers)}", advice)
        return layers

    def _finished(
        self,
        stream: Float[Tensor, "batch pos d_model"],
        return_type: ReturnType,
        tokens: Int[Tensor, "batch pos"] | None,
        is_target: Bool[Tensor, "batch pos"] | None,
        loss_per_token: bool = False,
        only_last: bool = False,
    ) -> Any:
        """From the stream after the last block to what was asked for."""
        has_unembed = "unembed" in self._modules
        stream = stream.to(self.ln_final.w.device)
        if only_last:
            logits = self._last_logits(stream)
        else:
            logits = self.unembed(self.ln_final(stream)) if has_unembed else self.ln_final(stream)
        if return_type is None:
            return None
        if return_type == "logits":
            return logits
        if tokens is None or not has_unembed:
            raise InputError("Loss has no targets", "tokens to predict", "a stream or pixels", "Ask for 'logits'.")
        loss = next_token_loss(logits, tokens, is_target, loss_per_token)
        return loss if return_type == "loss" else (logits, loss)

    def _last_logits(self, stream: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch 1 d_vocab"]:
        """The logits of the last position. Hooks on the final norm and the unembedding see every position.

        One row and many are multiplied in another order, so what a reader is shown is computed beside the last row.
        """
        last = self.unembed.linear(self.ln_final.norm(stream[:, -1:]))
        points = self.final_points()
        if all(point.is_idle for point in points):
            return last
        seen = self.unembed(self.ln_final(stream))
        if all(point.only_reads for point in points):
            return last
        is_written = not torch.equal(seen, self.unembed.linear(self.ln_final.norm(stream)))
        return seen[:, -1:] if is_written else last

    def final_points(self) -> list[HookPoint]:
        """The hook points between the last block and the result."""
        unembed = [self.unembed.hook_in, self.unembed.hook_out] if "unembed" in self._modules else []
        return [self.ln_final.hook_scale, self.ln_final.hook_normalized, *unembed]

    def run_with_cache(
        self, *model_args: Any, return_cache_object: bool = True, remove_batch_dim: bool = False, **options: Any
    ) -> tuple[Any, ActivationCache | dict[str, Tensor]]:
        """Run, and keep activations; see TransformerLens's `HookedRootModule.run_with_cache`.

        Args:
            model_args: the input.
            return_cache_object: give an `ActivationCache` rather than a plain dictionary.
            remove_batch_dim: drop the batch axis of decoder activations (a batch of one).
            options: `names_filter` (None: all but those computed only when asked for), `device`, `incl_bwd`,
                `pos_slice`, and what `forward` takes.
        """
        n_rows = _n_rows(model_args[0]) if model_args else 1
        if remove_batch_dim and n_rows != 1:
            raise InputError("Batch axis cannot be removed", "a batch of 1", f"{n_rows} rows")
        output, saved = super().run_with_cache(*model_args, remove_batch_dim=remove_batch_dim, **options)
        return output, ActivationCache(saved, self, not remove_batch_dim) if return_cache_object else saved

    def _apply(self, fn: Any, recurse: bool = True) -> "HookedTransformer":
        """Move or convert the checkpoint's own modules; the frequencies of rotary positions stay in fp32."""
        frequencies = getattr(self.rotary, "inv_freq", None)
        super()._apply(fn, recurse)
        if self.rotary is not None and frequencies is not None:
            self.rotary.inv_freq = frequencies.to(self.rotary.inv_freq.device)
        self.cfg.device, self.cfg.dtype = str(self.ln_final.w.device), self.ln_final.w.dtype
        return self


def check_request(return_type: Any, stop_at_layer: int | None, only_last: bool) -> None:
    """Raise before the run for what cannot be asked for."""
    if not (return_type is None or isinstance(return_type, str) and return_type in ("logits", "loss", "both")):
        advice = "" if isinstance(return_type, str) else "Interventions and probes go through run(inputs, *objects)."
        raise InputError("return_type", "'logits', 'loss', 'both' or None", repr(return_type), advice)
    if only_last and (stop_at_layer is not None or return_type in ("loss", "both")):
        raise InputError("only_last", "return_type 'logits' and no stop_at_layer", f"{return_type!r}, {stop_at_layer}")


def _n_rows(input: Any) -> int:
    """Rows of the batch that an input makes."""
    if isinstance(input, Mapping):
        input = torch.as_tensor(input["input_ids"])
    if isinstance(input, list):
        return len(input)
    return 1 if isinstance(input, str) or input.ndim == 1 else len(input)
