"""A sweep: planned when it is made, and run, stopped and gone on with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from vlm_lens.attachments.attachment import Attachment, Writer
from vlm_lens.attachments.naming.fingerprint import fingerprint_of
from vlm_lens.attachments.running.run import GeneratedRun
from vlm_lens.errors import InputError, VlmLensError
from vlm_lens.estimates.identity import hash_of
from vlm_lens.estimates.manifest import versions
from vlm_lens.recompute import Outcome, SharedRun
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.variant import Variant
from vlm_lens.sweeps.against_the_loop import n_to_verify, verify_cells
from vlm_lens.sweeps.conditions import CLEAN, Condition, Grid, conditions_of
from vlm_lens.sweeps.memory import parts_of, rows_together
from vlm_lens.sweeps.plan import SweepPlan, plan_of
from vlm_lens.sweeps.readings import Readings
from vlm_lens.sweeps.results import Cell, SweepResult
from vlm_lens.sweeps.store import Store

GIBIBYTE = 1 << 30


class Sweep:
    """Many conditions on one input: what each will cost is known before anything runs.

    `Sweep(vlm, inputs, conditions).plan` is the plan; `run()` runs it, and after an interrupt goes on where it stood.

    Args:
        model: what runs.
        inputs: what it is given.
        conditions: see `vlm_lens.sweeps.conditions.conditions_of`.
        read: what is kept of each; see `vlm_lens.sweeps.readings.Readings.of`.
        memory: bytes that the conditions' own rows may take at once; more of them are run in several parts, each of
            which runs the clean pass again.
        out: a folder for what is found, to go on from in another process. Probes' results are not kept there.
        verify: run so many conditions again, each in full, and compare: True (three), "all", or a number.
        shows_progress: a bar over the layers of all parts.

    Raises:
        InputError: conditions without a name of their own, a reading or bound that makes no sense, a folder of another
            sweep.
        VlmLensError: for a condition that cannot act on these inputs; it says which.
    """

    def __init__(
        self,
        model: Any,
        inputs: Any,
        conditions: Any,
        read: Any = "logits",
        *,
        memory: int = 2 * GIBIBYTE,
        out: str | Path | None = None,
        verify: bool | int | str = False,
        shows_progress: bool = True,
    ) -> None:
        self.model, self.readings, self.shows_progress = model, Readings.of(read), shows_progress
        self.conditions, self.axes = conditions_of(conditions), _axes(conditions)
        self.n_verified = n_to_verify(verify, len(self.conditions))
        generated = self.readings.generated
        self.n_new = 0 if generated is None else generated.max_new_tokens
        probes = self.readings.probes
        self._planned = _planned(model, inputs, self.conditions, probes, self.readings.wanted, self.n_new)
        self.inputs = self._planned.inputs
        self._parts = parts_of(self._planned, self._planned.variants, memory, self.n_new)
        self._max_rows = rows_together(self._planned, memory)
        self._cells: dict[int, Cell] = {}
        self._store = None if out is None else Store(out, self._spec())
        self._check_answers()
        if self._store is not None:
            self._take_up(self._store)

    @property
    def plan(self) -> SweepPlan:
        """For each condition the way it takes, the rows and layers computed, and the work."""
        names = [one.name for one in self.conditions]
        return replace(plan_of(self._planned, names, self._planned.variants[1:]), n_parts=len(self._parts))

    def run(self) -> SweepResult:
        """Run what has not been run yet.

        Raises:
            VerificationError: where it was to be verified, and is off.
        """
        numbers = {id(one): number for number, one in enumerate(self._planned.variants, start=-1)}
        todo = [[one for one in part if numbers[id(one)] not in self._cells] for part in self._parts]
        todo = [part for part in todo if part]
        n_layers = max(self._planned.n_layers, 1)
        bar = tqdm(desc="sweep", unit="layer", total=len(todo) * n_layers, disable=not self.shows_progress or not todo)
        with bar:
            for part in todo:
                before = bar.n
                self._run_part(part, numbers, lambda done: bar.update())
                bar.update(max(0, before + n_layers - bar.n))
        cells = [self._cells[number] for number in range(len(self.conditions))]
        self._verify(cells)
        return SweepResult(tuple(cells), self._cells[-1], self.plan, self._token_name, self.axes)

    def _run_part(self, part: Sequence[Variant], numbers: Mapping[int, int], on_layer: Callable[[Any], Any]) -> None:
        """Some conditions together; they are kept once all of them are there."""
        shared = SharedRun.over(self._planned.only(part), self._max_rows)
        generated = self.readings.generated
        found: list[Any]
        if generated is None:
            found = shared.run(on_layer)
        else:
            found = shared.generate(
                max_new_tokens=generated.max_new_tokens,
                eos_token_id=generated.eos_token_id,
                on_layer=on_layer,
                **generated.sampling,
            )
        cells = {numbers[id(part[place])]: self._cell(numbers[id(part[place])], one) for place, one in enumerate(found)}
        self._cells |= cells
        if self._store is not None:
            self._store.save({number: self._kept(cell) for number, cell in cells.items()})

    def _cell(self, number: int, found: Outcome | GeneratedRun) -> Cell:
        condition = self.conditions[number] if number >= 0 else Condition(CLEAN, ())
        if isinstance(found, GeneratedRun):
            return Cell(condition, None, {}, found, found.session)
        logits: Tensor | None = None
        values: dict[str, Tensor] = {}
        if found.logits is not None:
            logits, values = self._read(found.logits)
        return Cell(condition, logits, values, None, found.session)

    def _read(self, found: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The logits that are kept, and what the metrics say of those at the last position."""
        wanted = np.flatnonzero(self._planned.wanted)
        layout = self._planned.current.layout
        assert layout is not None
        last = found[:, int(np.searchsorted(wanted, layout.n_prompt - 1))] if self.readings.metrics else None
        values = {}
        for metric in self.readings.metrics:
            assert last is not None
            values[repr(metric)] = metric.values(last, metric.answers(self.model, len(last))).cpu()
        if self.readings.logits is None:
            return None, values
        positions = self.readings.logits.positions
        if isinstance(positions, str) and positions == "last":
            return found[:, int(np.searchsorted(wanted, layout.n_prompt - 1))].cpu(), values
        kept = np.flatnonzero(layout.mask(positions).any(dim=0).numpy())
        return found[:, torch.from_numpy(np.searchsorted(wanted, kept)).to(found.device)].cpu(), values

    def _check_answers(self) -> None:
        layout = self._planned.current.layout
        assert layout is not None
        for metric in self.readings.metrics:
            metric.answers(self.model, layout.n_rows)

    def _verify(self, cells: Sequence[Cell]) -> None:
        if not self.n_verified:
            return
        places = np.linspace(0, len(cells) - 1, self.n_verified).round().astype(int)
        generated, options = self.readings.generated, {}
        if generated is not None:
            options = {"max_new_tokens": generated.max_new_tokens, "eos_token_id": generated.eos_token_id}
            options |= generated.sampling
        logits = self.readings.logits
        layout = self._planned.current.layout
        assert layout is not None
        wanted = [] if logits is None else np.flatnonzero(layout.mask(logits.positions).any(dim=0).numpy()).tolist()
        verify_cells(self.model, self.inputs, [cells[place] for place in sorted(set(places))], wanted, options)

    def _token_name(self, token: int) -> str:
        has_names = getattr(self.model, "tokenizer", None) is not None
        return str(self.model.to_single_str_token(token)) if has_names else f"token {token}"

    # On disk

    def _spec(self) -> dict[str, Any]:
        """What tells this sweep from others."""
        if any(not isinstance(one, Attachment) or _reads(one) for c in self.conditions for one in c.objects) or (
            self.readings.probes
        ):
            advice = "Leave out out=, or read logits, an answer or generated text."
            raise InputError("out of a sweep", "conditions and readings without probes", "a probe", advice)
        entries = [one for one in self._planned.entries if one is not None]
        return {
            "model": hash_of(self.model),
            "inputs": fingerprint_of(entries),
            "conditions": [[one.name, fingerprint_of(list(one.objects))] for one in self.conditions],
            "read": fingerprint_of(
                [self.readings.logits, list(map(repr, self.readings.metrics)), self.readings.generated]
            ),
            "dtype": str(self.model.cfg.dtype),
            "versions": versions(),
        }

    def _kept(self, cell: Cell) -> dict[str, Tensor]:
        kept = {f"value.{name}": value for name, value in cell.values.items()}
        if cell.logits is not None:
            kept["logits"] = cell.logits
        if cell.generation is not None:
            kept |= {"tokens": cell.generation.tokens.cpu(), "step_logits": cell.generation.logits.cpu()}
        return kept

    def _take_up(self, store: Store) -> None:
        """What an earlier run of the same sweep has found."""
        for number, tensors in store.load().items():
            condition = self.conditions[number] if number >= 0 else Condition(CLEAN, ())
            session = self._planned.variants[number + 1].session
            prefix = "value."
            values = {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
            generation = None
            if "tokens" in tensors:
                generation = self._generation(tensors["tokens"], tensors["step_logits"], session)
            self._cells[number] = Cell(condition, tensors.get("logits"), values, generation, session)

    def _generation(self, tokens: Tensor, logits: Tensor, session: Any) -> GeneratedRun:
        texts: tuple[str, ...] = ()
        if self.model.tokenizer is not None:
            texts = tuple(self.model.tokenizer.decode(row.tolist(), skip_special_tokens=True).strip() for row in tokens)
        return GeneratedRun(tokens, logits, texts, self.inputs, session=session)


def _planned(
    model: Any, inputs: Any, conditions: Sequence[Condition], probes: Sequence[Any], wanted: Any, n_new: int
) -> Planned:
    """Everything checked and planned; the run that nothing is done to comes first."""
    objects = [tuple(probes), *[(*one.objects, *probes) for one in conditions]]
    try:
        return Planned(model, inputs, objects, wanted, n_expected=n_new)
    except VlmLensError as error:
        number = getattr(error, "condition", None)
        if number is not None and number > 0:
            error.add_note(f"In condition {conditions[number - 1].name!r} of the sweep.")
        raise


def _axes(given: Any) -> dict[str, tuple[str, ...]]:
    return {name: tuple(values) for name, values in given.axes.items()} if isinstance(given, Grid) else {}


def _reads(one: Attachment) -> bool:
    return not isinstance(one, Writer)
