"""A sweep: planned when it is made, and run, stopped and gone on with."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vlm_lens.attachments.attachment import Writer
from vlm_lens.attachments.measure import Measure
from vlm_lens.attachments.running.run import GeneratedRun
from vlm_lens.attachments.running.standing import standing_at
from vlm_lens.errors import EmptySelectionError, HookError, InputError, VlmLensError
from vlm_lens.layout import TokenLayout
from vlm_lens.recompute import Outcome, SharedRun
from vlm_lens.recompute.beginning import Beginning
from vlm_lens.recompute.in_turn import worth_keeping
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.prefix import Prefix
from vlm_lens.recompute.variant import Variant
from vlm_lens.sweeps.against_the_loop import n_to_verify, verify_cells
from vlm_lens.sweeps.cell import Cell
from vlm_lens.sweeps.conditions import CLEAN, Condition, Grid, conditions_of
from vlm_lens.sweeps.memory import bound_of, parts_of, rows_together
from vlm_lens.sweeps.plan import SweepPlan, plan_of
from vlm_lens.sweeps.progress import Progress
from vlm_lens.sweeps.readings import Readings
from vlm_lens.sweeps.results import SweepResult
from vlm_lens.sweeps.spec import cell_of, check_is_alone, required_of, spec_of, tensors_of
from vlm_lens.sweeps.store import Store


class Sweep:
    """Many conditions on one input: what each will cost is known before anything runs.

    `plan` is the plan; `run()` runs it, and after an interrupt or an error goes on where it stood.

    Args:
        model: what runs.
        inputs: what it is given.
        conditions: see `vlm_lens.sweeps.conditions.conditions_of`.
        read: what is kept of each; see `vlm_lens.sweeps.readings.Readings.of`.
        memory: bytes that the conditions' own rows (and, where text is generated, keys and values) may take at once;
            more of them are run in several parts, each of which runs the clean pass again. None for half of what is
            free on a GPU, and 2 GiB elsewhere.
        out: a folder for what is found, to go on from in another process. Probes' results are not kept there.
        verify: run so many conditions again, each in full, and compare: True (three), "all", or a number. The
            environment variable VLM_LENS_VERIFY_SWEEPS asks it of every sweep.
        shows_progress: a bar over the layers of all parts, and the tokens where text is generated.

    Raises:
        InputError: conditions without a name of their own, a reading or bound that makes no sense, a folder of another
            sweep.
        VlmLensError: for a condition that cannot act on these inputs; it says which.

    Example:
        >>> from vlm_lens import AttentionKnockout, HookedVLM
        >>> from vlm_lens.demo.examples import example_scenes
        >>> vlm, example = HookedVLM.demo(), example_scenes()[0]
        >>> inputs = vlm.prepare(example.scene.image, example.turn.question)
        >>> knockouts = {f"from {n}": AttentionKnockout("last", "image", layers=range(n, 6)) for n in (0, 4)}
        >>> sweep = Sweep(vlm, inputs, knockouts, shows_progress=False)
        >>> print(sweep.plan.to_dataframe()[["condition", "way", "decoder"]].to_string(index=False))
        condition  way              decoder
           from 0 rows layers 0 to 5, 1 row
           from 4 rows layers 4 to 5, 1 row
        >>> sweep.run().names
        ('from 0', 'from 4')
    """

    def __init__(
        self,
        model: Any,
        inputs: Any,
        conditions: Any,
        read: Any = "logits",
        *,
        memory: int | None = None,
        out: str | Path | None = None,
        verify: bool | int | str = False,
        shows_progress: bool = True,
    ) -> None:
        self.model, self.readings, self.shows_progress = model, Readings.of(read), shows_progress
        self.conditions, self.axes = conditions_of(conditions), _axes(conditions)
        self.n_verified = n_to_verify(verify, len(self.conditions))
        self.memory = bound_of(memory, model)
        _check_something_is_read(self.readings, self.conditions)
        self._planned = _planned(model, inputs, self.conditions, self.readings)
        self.inputs = self._planned.inputs
        self._numbers = {id(one): number for number, one in enumerate(self._planned.variants, start=-1)}
        names = {key: self._condition(number).name for key, number in self._numbers.items()}
        self._parts = parts_of(self._planned, names, self.memory, self._n_new)
        self._max_rows = rows_together(self._planned, self.memory)
        self._check_readings()
        self._cells: dict[int, Cell] = {}
        self._store = None
        if out is not None:
            self._store = Store(out, spec_of(self._planned, self.conditions, self.readings))
            self._take_up(self._store)

    @property
    def plan(self) -> SweepPlan:
        """For each condition the way it takes, the rows and layers computed, and the work."""
        names = [one.name for one in self.conditions]
        n_parts = sum(not part[0].reach.why_in_full for part in self._parts)
        found = plan_of(self._planned, names, self._planned.variants[1:])
        return replace(found, n_parts=n_parts, n_new=self._n_new)

    def run(self) -> SweepResult:
        """Run what has not been run yet.

        Raises:
            HookError: something stands at the model that was not there when this was planned.
            VerificationError: where it was to be verified, and is off.
        """
        self.check_who_stands()
        with Progress(self.lengths, self.shows_progress) as progress:
            self.run_parts(progress)
        return self.result()

    @property
    def lengths(self) -> list[int]:
        """How many layers and tokens each part has that has not been run yet."""
        n_layers = max(1, self.model.cfg.n_layers if self._n_new else self._planned.n_layers)
        return [n_layers + max(0, self._n_new - 1) for _ in self._todo()]

    def run_parts(
        self, progress: Progress, prefix: Prefix | None = None, following: Beginning | None = None
    ) -> Prefix | None:
        """Run what has not been run yet, part by part.

        Args:
            progress: is told.
            prefix: what a sweep before it has computed of how these inputs begin.
            following: how the inputs begin that will be run after these; None if none will.

        Returns:
            What the following inputs can use.
        """
        for part, length in zip(self._todo(), self.lengths, strict=True):
            with progress.part(length):
                shared = SharedRun.over(self._planned.only(part), self._max_rows, prefix)
                keep = 0 if following is None else worth_keeping(shared, prefix, following)
                self._run_part(part, shared, progress, keep)
                prefix = shared.kept or prefix
        return prefix

    def result(self) -> SweepResult:
        """What was found, verified if it was to be.

        Raises:
            VerificationError: with the condition that is off.
        """
        cells = [self._cells[number] for number in range(len(self.conditions))]
        if self.n_verified:
            places = np.linspace(0, len(cells) - 1, self.n_verified).round().astype(int)
            verify_cells(self.model, self.inputs, [cells[place] for place in places], self.readings)
        logits, positions, is_read = self.readings.logits, (), None
        if logits is not None and not logits.is_last:
            columns = logits.columns(self._layout)
            positions = tuple(columns.tolist())
            is_read = self._layout.mask(logits.positions).numpy()[:, columns]
        return SweepResult(
            tuple(cells), self._cells[-1], self.plan, self._token_name, self.axes, positions, is_read
        )  # fmt: skip

    def check_who_stands(self) -> None:
        """Raise where something has come to stand at the model: it would be shown rows of many conditions at once.

        What stood there when the sweep was planned is no matter: each condition is then run by itself.

        Raises:
            HookError: with what stands there.
            InputError: as much for a sweep that is kept on disk, even if it stood there before.
        """
        attached = [one for session in standing_at(self.model) for one in session.objects]
        hooked = [name for name, point in self.model.hook_dict.items() if not point.is_idle]
        if self._planned.in_parts and (attached or hooked):
            got = ", ".join(map(repr, attached)) or f"hooks at {', '.join(hooked[:3])}"
            advice = "Put it into the conditions, or make the sweep anew, with every condition run in full."
            raise HookError("Something stands at the model since a sweep was planned", "nothing else", got, advice)
        if self._store is not None:
            check_is_alone(self.model)

    def __repr__(self) -> str:
        n_run = sum(number >= 0 for number in self._cells)
        return f"Sweep({self.plan.summary}; {n_run} of {len(self.conditions)} run)"

    @property
    def _n_new(self) -> int:
        return 0 if self.readings.generated is None else self.readings.generated.max_new_tokens

    @property
    def _layout(self) -> TokenLayout:
        layout = self._planned.current.layout
        assert layout is not None
        return layout

    def _condition(self, number: int) -> Condition:
        return self.conditions[number] if number >= 0 else Condition(CLEAN, ())

    def _todo(self) -> list[list[Variant]]:
        """The parts, without the conditions that have been run."""
        parts = [[one for one in part if self._numbers[id(one)] not in self._cells] for part in self._parts]
        return [part for part in parts if part]

    def _run_part(self, part: Sequence[Variant], shared: SharedRun, progress: Progress, keep: int) -> None:
        """Some conditions together; they are kept once all of them are there."""
        generated = self.readings.generated
        for variant in part:
            _begin(variant, self._layout)
        found: Sequence[Outcome | GeneratedRun]
        if generated is None:
            found = shared.run(progress.step, keep)
        else:
            found = shared.generate(
                eos_token_id=generated.eos_token_id,
                max_bytes=self.memory,
                on_progress=progress.step,
                keep=keep,
                **generated.sampling,
            )
        numbers = [self._numbers[id(one)] for one in part]
        cells = dict(zip(numbers, self._cells_of([self._condition(one) for one in numbers], found), strict=True))
        self._cells |= cells
        for variant in part:
            variant.let_go()  # or the parts to come would run beside the streams and logits of these
        if self._store is not None:
            self._store.save({number: tensors_of(cell) for number, cell in cells.items()})

    def _cells_of(self, conditions: Sequence[Condition], found: Sequence[Any]) -> list[Cell]:
        """The cells of what some conditions gave."""
        both = list(zip(conditions, found, strict=True))
        if self.readings.generated is not None:
            return [Cell(condition, None, {}, run, run.session) for condition, run in both]
        if self.readings.wanted is None:
            return [Cell(condition, None, {}, None, one.session) for condition, one in both]
        columns = np.flatnonzero(self._planned.wanted)
        kept = self.readings.kept_of(self.model, [one.logits for one in found], columns, self._layout)
        return [Cell(condition, *read, None, one.session) for (condition, one), read in zip(both, kept, strict=True)]

    def _check_readings(self) -> None:
        """Raise for readings that are nowhere in these inputs, or answers that are no token of this model."""
        logits = self.readings.logits
        if logits is not None and not len(logits.columns(self._layout)):
            rule = "positions that these inputs have"
            raise EmptySelectionError(f"{logits!r}", rule, "none", "A continuation is read by Generated(...).")
        for metric in self.readings.metrics:
            metric.answers(self.model, self._layout.n_rows)

    def _take_up(self, store: Store) -> None:
        """What an earlier run of the same sweep has found."""
        ends = None if self.readings.generated is None else self.readings.generated.eos_token_id
        held = store.load(list(self._numbers.values()), required_of(self.readings))
        for number, tensors in held.items():
            variant = self._planned.variants[number + 1]
            self._cells[number] = cell_of(tensors, self._condition(number), variant, self._planned, ends)

    def _token_name(self, token: int) -> str:
        has_names = getattr(self.model, "tokenizer", None) is not None
        return str(self.model.to_single_str_token(token)) if has_names else f"token {token}"


def _planned(model: Any, inputs: Any, conditions: Sequence[Condition], readings: Readings) -> Planned:
    """Everything checked and planned; the run that nothing is done to comes first."""
    probes, n_new = readings.probes, 0 if readings.generated is None else readings.generated.max_new_tokens
    for one in conditions:
        if twice := [probe for probe in probes if any(probe is other for other in one.objects)]:
            advice = "Leave it out of one of them: what read= names is attached to every condition."
            raise InputError(f"Condition {one.name!r}", "each probe once", f"{twice[0]!r}, also in read", advice)
        if n_new and (measures := [measure for measure in one.objects if isinstance(measure, Measure)]):
            advice = "Read logits, or None."
            raise InputError(f"Condition {one.name!r}", "no measure where text is generated", repr(measures[0]), advice)
    objects = [tuple(probes), *[(*one.objects, *probes) for one in conditions]]
    try:
        return Planned(model, inputs, objects, readings.wanted, n_expected=n_new)
    except VlmLensError as error:
        number = getattr(error, "condition", None)
        if number is not None and number > 0:
            error.add_note(f"In condition {conditions[number - 1].name!r} of the sweep.")
        raise


def _check_something_is_read(readings: Readings, conditions: Sequence[Condition]) -> None:
    """Raise for a sweep that keeps nothing.

    Raises:
        InputError: nothing to read, and no condition with a probe.
    """
    is_read = readings.wanted is not None or readings.probes
    if not is_read and all(isinstance(one, Writer) for condition in conditions for one in condition.objects):
        rule = "something that is kept: 'logits', a metric, a probe, Generated(...), or probes in the conditions"
        raise InputError("read of a sweep", rule, "None, and conditions without a probe")


def _begin(variant: Variant, layout: TokenLayout) -> None:
    """Forget what a run that was stopped has left in a condition's record."""
    session = variant.session
    assert session.record is not None
    session.record = replace(session.record, layout=layout, reads={}, tokens=[], ends=[], is_whole=False)
    session._results = {}


def _axes(given: Any) -> dict[str, tuple[str, ...]]:
    return {name: tuple(values) for name, values in given.axes.items()} if isinstance(given, Grid) else {}
