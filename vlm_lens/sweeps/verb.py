"""The verb that runs many interventions on one input: sweep."""

from pathlib import Path
from typing import Any, overload

from vlm_lens.inputs import Inputs
from vlm_lens.sweeps.results import SweepResult
from vlm_lens.sweeps.several_inputs import are_several, swept_in_turn
from vlm_lens.sweeps.sweep import Sweep


class Sweeps:
    """What a hooked decoder can do with many conditions."""

    @overload
    def sweep(
        self,
        inputs: list[Inputs] | tuple[Inputs, ...],
        conditions: Any,
        read: Any = ...,
        *,
        memory: int | None = ...,
        out: str | Path | None = ...,
        verify: bool | int | str = ...,
        shows_progress: bool = ...,
    ) -> list[SweepResult]: ...

    @overload
    def sweep(
        self,
        inputs: Any,
        conditions: Any,
        read: Any = ...,
        *,
        memory: int | None = ...,
        out: str | Path | None = ...,
        verify: bool | int | str = ...,
        shows_progress: bool = ...,
    ) -> SweepResult: ...

    def sweep(
        self,
        inputs: Any,
        conditions: Any,
        read: Any = "logits",
        *,
        memory: int | None = None,
        out: str | Path | None = None,
        verify: bool | int | str = False,
        shows_progress: bool = True,
    ) -> SweepResult | list[SweepResult]:
        """Run many conditions on one input; of each only what it changes is computed.

        Equal to running `vlm.run(inputs, *objects)` for each, up to rounding. `Sweep(vlm, inputs, conditions).plan`
        shows beforehand what each will cost.

        Args:
            inputs: what the model takes; or a list of inputs as `prepare` gives them, which are run in turn: several
                questions on one picture share what comes before them.
            conditions: a list of conditions, each an object, several or none; a mapping `{name: objects}`; or a `Grid`.
                For a list of inputs also a function that is given one of them and returns its conditions.
            read: "logits" (at the last prompt position), `Logits(positions)`, `Probability(" Yes")` and its like, a
                probe, `Generated(max_new_tokens=...)`, several of these, or None for what the conditions' own probes
                find.
            memory, out, verify, shows_progress: see `Sweep`.

        Returns:
            The results; for a list of inputs a list of these, in order.

        Raises:
            VlmLensError: before the model runs, for conditions that cannot be told apart or cannot act.
        """
        options: dict[str, Any] = {"memory": memory, "out": out, "verify": verify, "shows_progress": shows_progress}
        if are_several(inputs):
            return swept_in_turn(self, inputs, conditions, read, **options)
        return Sweep(self, inputs, conditions, read, **options).run()
