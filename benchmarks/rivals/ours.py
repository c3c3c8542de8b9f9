"""This library: a run for each condition."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.conditions import Blocked, Change, Condition, positions_of
from benchmarks.rivals.rival import TOP_K, Output, Rival, Setup
from vlm_lens import AttentionKnockout, HookedVLM, LensReading, LogitLens, MeanAblation
from vlm_lens.sweeps import Generated, SweepResult


class Ours(Rival):
    """`HookedVLM` over the same parameters, condition by condition with `vlm.run`."""

    name = "vlm_lens"

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.vlm = HookedVLM.from_hf(setup.model)
        self.inputs = self.vlm.as_inputs(setup.inputs)

    def logits(self) -> Output:
        return {"logits": self.vlm(self.setup.inputs)[0]}

    def residual_cache(self) -> Output:
        logits, cache = self.vlm.run_with_cache(self.setup.inputs, names_filter="blocks.*.hook_resid_post")
        layers = range(self.setup.sizes.decoder_layers)
        return {"logits": logits[0]} | {
            f"resid_post.{one}": cache[f"blocks.{one}.hook_resid_post"][0] for one in layers
        }

    def full_cache(self) -> Output:
        logits, cache = self.vlm.run_with_cache(self.setup.inputs)
        self.note = f"{len(cache)} tensors"
        return {"logits": logits[0]} | dict(cache.items())

    def last_logits(self, changes: Sequence[Change]) -> Output:
        return {"logits": self.vlm.run(self.inputs, *self.objects(changes), only_last=True).logits[0, -1]}

    def generated(self, changes: Sequence[Change], *, static_cache: bool = False) -> Output:
        objects, n_new = self.objects(changes), self.setup.sizes.new_tokens
        options: dict[str, Any] = dict(max_new_tokens=n_new, eos_token_id=(), static_cache=static_cache)
        run = self.vlm.generate(self.inputs, *objects, **options)
        return {"tokens": run.tokens[0], "step_logits": run.logits[0]}

    def lens(self, changes: Sequence[Change], patches: Sequence[int]) -> Output:
        lens = self.lens_at(patches)
        return lens_output(self.vlm.run(self.inputs, *self.objects(changes), lens, only_last=True)[lens])

    def swept_logits(self, conditions: Sequence[Condition]) -> list[Output]:
        """`last_logits` of every condition, as one sweep."""
        cells = self._sweep({one.name: self.objects(one.changes) for one in conditions})
        return [{"logits": cell.logits[0]} for cell in cells]

    def swept_text(self, conditions: Sequence[Condition]) -> list[Output]:
        """`generated` of every condition, as one sweep."""
        read = Generated(max_new_tokens=self.setup.sizes.new_tokens, eos_token_id=())
        cells = self._sweep({one.name: self.objects(one.changes) for one in conditions}, read)
        return [{"tokens": cell.generation.tokens[0], "step_logits": cell.generation.logits[0]} for cell in cells]

    def swept_lens(self, conditions: Sequence[Condition]) -> list[Output]:
        """`lens` of every condition, as one sweep."""
        lenses = {one.name: self.lens_at(one.patches) for one in conditions}
        cells = self._sweep({one.name: [*self.objects(one.changes), lenses[one.name]] for one in conditions}, None)
        return [lens_output(cell[lenses[cell.name]]) for cell in cells]

    def _sweep(self, conditions: dict[str, list[Any]], read: Any = "logits") -> SweepResult:
        return self.vlm.sweep(self.inputs, conditions, read, shows_progress=False)

    def lens_at(self, patches: Sequence[int]) -> LogitLens:
        positions = list(positions_of(self.setup.sizes, patches))
        return LogitLens(top_k=TOP_K, targets=[self.setup.target], positions=positions)

    def objects(self, changes: Sequence[Change]) -> list[Any]:
        """The changes as interventions."""
        return [self._object(change) for change in changes]

    def _object(self, change: Change) -> Any:
        if isinstance(change, Blocked):
            queries = [*change.queries, *(["generated"] if change.also_generated else [])]
            return AttentionKnockout(
                queries,
                list(change.keys),
                layers=list(change.layers),
                tower=change.tower,
                bidirectional=change.is_mutual,
            )
        return MeanAblation(list(change.patches), change.vector)  # the projector counts the picture's own positions


def lens_output(reading: LensReading) -> Output:
    """What was read, under the names that every contestant uses."""

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(values)

    return {
        "top_log_probabilities": tensor(reading.top_probabilities).log(),
        "entropy": tensor(reading.entropy),
        "target_log_probability": tensor(reading.target_log_probabilities)[..., 0],
        "target_rank": tensor(reading.target_ranks)[..., 0],
    }
