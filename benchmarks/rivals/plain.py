"""`transformers` alone, with the hooks that the papers' own code writes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.conditions import Blocked, Change, Replaced
from benchmarks.model import twin
from benchmarks.rivals.rival import CannotDo, Output, Rival, Setup, read_lens


class Transformers(Rival):
    """A `LlavaForConditionalGeneration` as it is, in one of its attention implementations."""

    def __init__(self, setup: Setup, implementation: str) -> None:
        self.setup = setup
        self.name = f"transformers {implementation}"
        self.is_eager = implementation == "eager"
        self.model: Any = twin(setup.model) if self.is_eager else setup.model
        self.model.set_attn_implementation(implementation)

    def logits(self) -> Output:
        return {"logits": self.model(**self.setup.inputs, use_cache=False).logits[0]}

    def residual_cache(self) -> Output:
        with self._states() as states:
            logits = self.model(**self.setup.inputs, use_cache=False).logits[0]
        return {"logits": logits} | {f"resid_post.{layer}": state[0] for layer, state in enumerate(states[1:])}

    def full_cache(self) -> Output:
        if not self.is_eager:
            raise CannotDo("under sdpa it gives no attention patterns")
        with self._states() as states:
            output = self.model(**self.setup.inputs, use_cache=False, output_attentions=True)
        self.note = f"{len(output.attentions) + len(states)} tensors: the stream and the decoder's patterns alone"
        kept = {f"blocks.{layer}.hook_resid_post": state for layer, state in enumerate(states[1:])}
        kept |= {f"blocks.{layer}.attn.hook_pattern": pattern for layer, pattern in enumerate(output.attentions)}
        return kept | {"logits": output.logits[0]}

    def last_logits(self, changes: Sequence[Change]) -> Output:
        with self.changed(changes):
            return {"logits": self.model(**self.setup.inputs, use_cache=False, logits_to_keep=1).logits[0, -1]}

    def doubled_logits(self, changes: Sequence[Change]) -> Output:
        """`last_logits` of the same prompt twice in one batch: what another batch size does by rounding."""
        inputs = {name: torch.cat([value, value]) for name, value in self.setup.inputs.items()}
        with self.changed(changes):
            return {"logits": self.model(**inputs, use_cache=False, logits_to_keep=1).logits[0, -1]}

    def generated(self, changes: Sequence[Change]) -> Output:
        n_new = self.setup.sizes.new_tokens
        options = dict(max_new_tokens=n_new, do_sample=False, return_dict_in_generate=True, output_logits=True)
        with self.changed(changes):
            output = self.model.generate(**self.setup.inputs, **options)
        return {"tokens": output.sequences[0, -n_new:], "step_logits": torch.cat(output.logits)}

    def lens(self, changes: Sequence[Change], patches: Sequence[int]) -> Output:
        decoder, positions = self.model.model.language_model, self.setup.image_positions[list(patches)]
        with self.changed(changes), self._states(positions) as states:
            self.model.model(**self.setup.inputs, use_cache=False)
        return read_lens([one[0] for one in states], decoder.norm, self.model.lm_head, self.setup.target)

    @contextmanager
    def changed(self, changes: Sequence[Change]) -> Iterator[None]:
        """While the hooks of every change stand."""
        with ExitStack() as standing:
            for change in changes:
                for handle in self._hooks(change):
                    standing.callback(handle.remove)
            yield

    def _hooks(self, change: Change) -> list[Any]:
        if isinstance(change, Replaced):
            return [self.model.model.multi_modal_projector.register_forward_hook(replacing(change))]
        inner = self.model.model
        layers = inner.language_model.layers if change.tower == "decoder" else inner.vision_tower.encoder.layers
        hook = masking(change, self.setup.sizes.n_positions, is_additive=self.is_eager)
        return [layers[one].self_attn.register_forward_pre_hook(hook, with_kwargs=True) for one in change.layers]

    @contextmanager
    def _states(self, positions: Tensor | None = None) -> Iterator[list[Tensor]]:
        """The stream into block 0 and after each layer: `hidden_states` gives the last one normed."""
        states: list[Tensor] = []

        def keep(state: Tensor) -> None:
            states.append(state if positions is None else state[:, positions])

        layers = self.model.model.language_model.layers
        handles = [
            layers[0].register_forward_pre_hook(lambda module, args, kwargs: keep(args[0]), with_kwargs=True),
            *(layer.register_forward_hook(lambda module, args, output: keep(output)) for layer in layers),
        ]
        try:
            yield states
        finally:
            for handle in handles:
                handle.remove()


def masking(change: Blocked, n_prompt: int, *, is_additive: bool) -> Callable[..., Any]:
    """A pre-hook of an attention that gives it a mask; the mask of a pass is made once for all layers."""
    made: dict[tuple[int, int], Tensor] = {}

    def give_mask(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        states = kwargs["hidden_states"]
        n_queries, past = states.shape[1], kwargs.get("past_key_values")
        n_keys = n_queries if past is None else past.get_seq_length(module.layer_idx) + n_queries
        if (n_queries, n_keys) not in made:
            allowed = change.allowed(n_prompt, n_queries, n_keys, states.device)
            made[n_queries, n_keys] = additive(allowed, states.dtype) if is_additive else allowed
        return args, {**kwargs, "attention_mask": made[n_queries, n_keys]}

    return give_mask


def additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask as eager attention adds it."""
    return torch.zeros_like(allowed, dtype=dtype).masked_fill_(~allowed, torch.finfo(dtype).min)


def replacing(change: Replaced) -> Callable[..., Any]:
    """A hook of the projector that puts a vector in the place of some patches."""

    def give_features(module: nn.Module, args: Any, features: Tensor) -> Tensor:
        features = features.clone()
        features[:, list(change.patches)] = change.vector.to(features)
        return features

    return give_features
