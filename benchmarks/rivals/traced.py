"""nnsight: the same masks and vectors, given inside a trace."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.conditions import Blocked, Change, Replaced
from benchmarks.model import twin
from benchmarks.rivals.plain import masking
from benchmarks.rivals.rival import CannotDo, Output, Rival, Setup, read_lens


class Traced(Rival):
    """`NNsight(model)`, whose traces read and set modules' inputs and outputs."""

    name = "nnsight"

    def __init__(self, setup: Setup) -> None:
        from nnsight import NNsight

        self.setup = setup
        self.module: Any = twin(setup.model)
        self.model: Any = NNsight(self.module)

    def logits(self) -> Output:
        with self.model.trace(**self.setup.inputs, use_cache=False):
            logits = self.model.lm_head.output.save()
        return {"logits": logits[0]}

    def residual_cache(self) -> Output:
        with self.model.trace(**self.setup.inputs, use_cache=False):
            states = list().save()
            for layer in self.model.model.language_model.layers:
                states.append(layer.output)
            logits = self.model.lm_head.output.save()
        return {"logits": logits[0]} | {f"resid_post.{layer}": state[0] for layer, state in enumerate(states)}

    def full_cache(self) -> Output:
        raise CannotDo("it keeps modules' inputs and outputs; under sdpa scores and patterns are none of them")

    def last_logits(self, changes: Sequence[Change]) -> Output:
        vision, decoder = self._attentions(changes, "vision"), self._attentions(changes, "decoder")
        replaced = [change for change in changes if isinstance(change, Replaced)]
        with self.model.trace(**self.setup.inputs, use_cache=False, logits_to_keep=1):
            for attention, give_mask in vision:
                attention.inputs = give_mask(attention._module, *attention.inputs)
            for change in replaced:
                self.model.model.multi_modal_projector.output[:, list(change.patches)] = change.vector
            for attention, give_mask in decoder:
                attention.inputs = give_mask(attention._module, *attention.inputs)
            logits = self.model.lm_head.output.save()
        return {"logits": logits[0, -1]}

    def generated(self, changes: Sequence[Change]) -> Output:
        n_new = self.setup.sizes.new_tokens
        decoder = self._attentions(changes, "decoder")
        replaced = [change for change in changes if isinstance(change, Replaced)]
        options: dict[str, Any] = dict(max_new_tokens=n_new, do_sample=False, fn=self.module.generate)
        with self.model.trace(**self.setup.inputs, **options) as tracer:
            for change in replaced:
                self.model.model.multi_modal_projector.output[:, list(change.patches)] = change.vector
            if decoder:
                for _ in tracer.iter[0:n_new]:
                    for attention, give_mask in decoder:
                        attention.inputs = give_mask(attention._module, *attention.inputs)
            sequences = tracer.result.save()
        return {"tokens": sequences[0, -n_new:]}

    def lens(self, changes: Sequence[Change], patches: Sequence[int]) -> Output:
        positions = self.setup.image_positions[list(patches)]
        layers, vision = self.model.model.language_model.layers, self._attentions(changes, "vision")
        masks = {attention.path: give_mask for attention, give_mask in self._attentions(changes, "decoder")}
        with self.model.trace(**self.setup.inputs, use_cache=False, logits_to_keep=1):
            states = list().save()
            for attention, give_mask in vision:
                attention.inputs = give_mask(attention._module, *attention.inputs)
            for index, layer in enumerate(layers):
                if index == 0:
                    states.append(layer.input[0, positions])
                attention = layer.self_attn
                if attention.path in masks:
                    attention.inputs = masks[attention.path](attention._module, *attention.inputs)
                states.append(layer.output[0, positions])
        norm = self.module.model.language_model.norm
        return read_lens(states, norm, self.module.lm_head, self.setup.target)

    def _attentions(self, changes: Sequence[Change], tower: str) -> list[tuple[Any, Callable[..., Any]]]:
        """The attentions of a tower that lose edges, in the order in which they run, each with what gives its mask."""
        found: dict[int, tuple[Any, Callable[..., Any]]] = {}
        inner = self.model.model
        layers = inner.language_model.layers if tower == "decoder" else inner.vision_tower.encoder.layers
        for change in changes:
            if isinstance(change, Blocked) and change.tower == tower:
                give_mask = masking(change, self.setup.sizes.n_positions, is_additive=False)
                found |= {layer: (layers[layer].self_attn, give_mask) for layer in change.layers}
        return [found[layer] for layer in sorted(found)]
