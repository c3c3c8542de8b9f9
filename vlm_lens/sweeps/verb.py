"""The verb that runs many interventions on one input: sweep."""

from pathlib import Path
from typing import Any

from vlm_lens.sweeps.results import SweepResult
from vlm_lens.sweeps.sweep import GIBIBYTE, Sweep


class Sweeps:
    """What a hooked decoder can do with many conditions."""

    def sweep(
        self,
        inputs: Any,
        conditions: Any,
        read: Any = "logits",
        *,
        memory: int = 2 * GIBIBYTE,
        out: str | Path | None = None,
        verify: bool | int | str = False,
        shows_progress: bool = True,
    ) -> SweepResult:
        """Run many conditions on one input; of each only what it changes is computed.

        Equal to running `vlm.run(inputs, *objects)` for each, up to rounding. `Sweep(vlm, inputs, conditions).plan`
        shows beforehand what each will cost.

        Args:
            inputs: what the model takes.
            conditions: a list of conditions, each an object, several or none; a mapping `{name: objects}`; or a `Grid`.
            read: "logits" (at the last prompt position), `Logits(positions)`, `Probability(" Yes")` and its like, a
                probe, `Generated(max_new_tokens=...)`, several of these, or None for what the conditions' own probes
                find.
            memory, out, verify, shows_progress: see `Sweep`.

        Raises:
            VlmLensError: before the model runs, for conditions that cannot be told apart or cannot act.
        """
        sweep = Sweep(
            self, inputs, conditions, read, memory=memory, out=out, verify=verify, shows_progress=shows_progress
        )
        return sweep.run()
