"""pyvene: interventions on modules' outputs, by the paths of the modules."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from benchmarks.conditions import Blocked, Change, Replaced
from benchmarks.model import twin
from benchmarks.rivals.rival import CannotDo, Output, Rival, Setup, read_lens

NO_EDGES = "it reaches attention's inputs and outputs, neither its scores nor its mask"


class Collected(Rival):
    """`pyvene.IntervenableModel`; its map of LLaVA's components is of older `transformers`, so paths name them."""

    name = "pyvene"

    def __init__(self, setup: Setup) -> None:
        import pyvene

        self.setup, self.pyvene = setup, pyvene
        self.module: Any = twin(setup.model)
        layers = [f"model.language_model.layers[{layer}]" for layer in range(setup.sizes.decoder_layers)]
        self.outputs = [f"{layer}.output" for layer in layers]
        self.stream = [f"{layers[0]}.input", *self.outputs]

    def logits(self) -> Output:
        raise CannotDo("without an intervention it is the model itself")

    def residual_cache(self) -> Output:
        output, states = self._collected(self.outputs, range(self.setup.sizes.n_positions))
        return {"logits": output.logits[0]} | {f"resid_post.{layer}": state for layer, state in enumerate(states)}

    def full_cache(self) -> Output:
        raise CannotDo("it reads modules' inputs and outputs; scores and patterns are none of them")

    def last_logits(self, changes: Sequence[Change]) -> Output:
        model, where = self._replacing(changes)
        self._restore_capturing()
        base = dict(**self.setup.inputs, use_cache=False, logits_to_keep=1)
        return {"logits": model(base, unit_locations=at(where))[1].logits[0, -1]}

    def generated(self, changes: Sequence[Change]) -> Output:
        model, where = self._replacing(changes)
        n_new = self.setup.sizes.new_tokens
        self._restore_capturing()
        sequences = model.generate(
            dict(self.setup.inputs),
            unit_locations=at(where),
            intervene_on_prompt=True,
            max_new_tokens=n_new,
            do_sample=False,
        )[1]
        return {"tokens": sequences[0, -n_new:]}

    def lens(self, changes: Sequence[Change], patches: Sequence[int]) -> Output:
        if changes:
            raise CannotDo(NO_EDGES)
        positions = self.setup.image_positions[list(patches)].tolist()
        states = self._collected(self.stream, positions, logits_to_keep=1)[1]
        return read_lens(states, self.module.model.language_model.norm, self.module.lm_head, self.setup.target)

    def _collected(self, paths: Sequence[str], positions: Sequence[int], **options: Any) -> tuple[Any, list[Tensor]]:
        """The model's output, and what was collected at each path."""
        model = self._intervenable({path: self.pyvene.CollectIntervention() for path in paths})
        self._restore_capturing()
        base = dict(**self.setup.inputs, use_cache=False, **options)
        (_, found), output = model(base, unit_locations=at(positions, len(paths)))
        return output, [state.reshape(-1, self.setup.sizes.d_model) for state in found]

    def _replacing(self, changes: Sequence[Change]) -> tuple[Any, list[int]]:
        """The model with its projector's output replaced, and at which patches."""
        if any(isinstance(change, Blocked) for change in changes):
            raise CannotDo(NO_EDGES)
        if not changes:
            raise CannotDo("without an intervention it is the model itself")
        (change,) = changes
        assert isinstance(change, Replaced)

        class Given(self.pyvene.ConstantSourceIntervention):  # type: ignore[name-defined, misc]
            def forward(self, base: Tensor, source: Any = None, subspaces: Any = None) -> Tensor:
                return change.vector.to(base).repeat(*base.shape[:-1], base.shape[-1] // len(change.vector))

        return self._intervenable({"model.multi_modal_projector.output": Given()}), list(change.patches)

    def _restore_capturing(self) -> None:
        """Have `transformers` set up its own hooks again: pyvene removes every hook of the model after each call."""
        for module in self.module.modules():
            if getattr(module, "_output_capturing_hooks_installed", False):
                module._output_capturing_hooks_installed = False

    def _intervenable(self, interventions: dict[str, Any]) -> Any:
        chosen = [{"component": path, "intervention": one} for path, one in interventions.items()]
        return self.pyvene.IntervenableModel(chosen, self.module)


def at(positions: Sequence[int], n_interventions: int = 1) -> dict[str, list[list[list[int]]]]:
    """Where, written out for each intervention and row: of a plain list of two positions pyvene changes one alone."""
    return {"base": [[list(positions)]] * n_interventions}
