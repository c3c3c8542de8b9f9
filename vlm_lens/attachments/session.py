"""Attachments standing at a model: they are checked, told of every pass, and gone when the block ends."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from vlm_lens.attachments.attachment import Attachment, Read, Reader, Writer
from vlm_lens.attachments.current_pass import CurrentPass
from vlm_lens.attachments.ground import Ground
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.lonely_queries import check_no_query_is_left_alone
from vlm_lens.attachments.passes import first_pass, next_pass, planned_pass, whole
from vlm_lens.attachments.reach import check_is_reached
from vlm_lens.attachments.record import Record
from vlm_lens.errors import EmptySelectionError, HookError
from vlm_lens.layout import TokenLayout
from vlm_lens.model.hook_point import HookPoint


class Watcher:
    """Someone who is shown each activation before and after every writer: a proof that it acted."""

    def before(self, writer: Writer, activation: Tensor, here: Here) -> Tensor | None:
        """What the writer is about to be given; another tensor takes its place."""

    def after(self, writer: Writer, activation: Tensor, here: Here) -> None:
        """What the writer has left."""


class Session:
    """What stands at a model, and what it has read.

    Args:
        model: a model, or a tower.
        objects: what is attached, in the order in which writers apply on one hook.
        watcher: is shown what each writer is given and leaves.

    Raises:
        HookError: for a hook, tower or head that does not exist, an object that is no attachment, a reader given twice.
        EmptySelectionError: for layers that do not exist.
    """

    def __init__(self, model: Any, objects: Sequence[Attachment], watcher: Watcher | None = None) -> None:
        self.model, self.objects, self.watcher = model, tuple(objects), watcher
        _check_objects(self.objects)
        self.hook_names: dict[int, list[str]] = {}
        self._missing: list[Attachment] = []  # their layers do not exist, and they said to be skipped then
        for one in self.objects:
            try:
                self.hook_names[id(one)] = one.hook_names(model)
            except EmptySelectionError:
                if one.on_empty == "raise":
                    raise
                self.hook_names[id(one)] = []
                self._missing.append(one)
        self.n_expected = 0
        self.record: Record | None = None
        self.current: CurrentPass | None = None
        self._results: dict[int, Any] = {}
        self._skipped: tuple[Attachment, ...] = ()
        _warn_of_unreachable(model, self.objects, self.hook_names)

    # What a user asks

    def __getitem__(self, one: Attachment) -> Any:
        """What a reader found in the last run; None if there was nothing to read and it was made to skip that.

        Raises:
            HookError: for an object that is not attached or that reads nothing, or before anything was run.
        """
        if not any(one is other for other in self.objects):
            raise HookError(
                "Result does not exist", "an object that was attached", repr(one), "Keep the object itself."
            )
        if id(one) in self._results:
            return self._results[id(one)]
        if not isinstance(one, Reader):
            rule = "a reader" if isinstance(one, Writer) else "vlm.run(inputs, ...), which runs measures"
            raise HookError(f"{one.label} has no result here", rule, repr(one))
        if self.record is None:
            raise HookError("Nothing was run yet", "a run of the model inside the block", "none")
        if any(one is other for other in self.record.skipped):
            return None
        self._results[id(one)] = one.result(self.record.reads.get(id(one), []), self.record)
        return self._results[id(one)]

    def keep(self, one: Attachment, result: Any) -> None:
        """What a measure found."""
        self._results[id(one)] = result

    def finish(self, layout: TokenLayout) -> None:
        """The layout of a whole generation, with its texts and the rows' ends."""
        assert self.record is not None
        self.record.layout = layout

    def verify(self) -> Any:
        """Run the last run again and prove that every writer acted; see `vlm_lens.attachments.verification`.

        Raises:
            VerificationError: with the figure that is off.
        """
        from vlm_lens.attachments.verification import verify

        if self.record is None:
            raise HookError("Nothing was run yet", "a run of the model inside the block", "none")
        standing = {id(one): one for one in (self, *standing_at(self.model))}
        before = {key: one._is_paused for key, one in standing.items()}
        try:
            for one in standing.values():
                one._is_paused = True  # the proof makes its own passes, and attaches the same writers itself
            return verify(self.model, self, self.record)
        finally:
            for key, one in standing.items():
                one._is_paused = before[key]

    # What stands at the model

    @contextmanager
    def standing(self) -> Iterator["Session"]:
        """Everything attached stands until the block ends, by an error and by an interrupt too."""
        hooks = [
            (name, hook) for one in self.objects for name in self.hook_names[id(one)] for hook in self._hooks_of(one)
        ]
        told = [
            self.model.register_forward_pre_hook(self._before_pass, with_kwargs=True),
            self.model.register_forward_hook(self._after_pass, always_call=True),
        ]
        outer = standing_at(self.model)
        try:
            self.model._standing = (*outer, self)
            with self.model.hooks(fwd_hooks=hooks):
                yield self
        finally:
            self.model._standing = outer
            for handle in told:
                handle.remove()
            self._close_pass()

    def expect(self, n_new: int) -> None:
        """So many tokens will be generated, and their positions are no mistake."""
        self.n_expected = n_new

    def _hooks_of(self, one: Attachment) -> list[Any]:
        """The hooks of one object on one hook point."""
        if isinstance(one, Reader):
            return [_marked(partial(self._read, one), reads_only=True)]
        assert isinstance(one, Writer)
        write = _marked(partial(self._write, one), returns_new=not one.edits_in_place)
        if self.watcher is None:
            return [write]
        before, after = self.watcher.before, self.watcher.after
        return [
            _marked(partial(self._show, one, before), returns_new=True),
            write,
            _marked(partial(self._show, one, after), reads_only=True),
        ]

    def _read(self, reader: Reader, activation: Tensor, hook: HookPoint) -> None:
        if self._is_paused or self._is_skipped(reader):
            return
        here = self._here(activation, hook)
        value = reader.read(activation, here)
        if value is not None and self.record is not None:
            self.record.reads.setdefault(id(reader), []).append(Read(here, value))

    def _write(self, writer: Writer, activation: Tensor, hook: HookPoint) -> Tensor | None:
        if self._is_paused or self._is_skipped(writer):
            return None
        return writer.write(activation, self._here(activation, hook))

    def _show(self, writer: Writer, show: Any, activation: Tensor, hook: HookPoint) -> Tensor | None:
        if self._is_skipped(writer):
            return None
        shown: Tensor | None = show(writer, activation, self._here(activation, hook))
        return shown

    def _here(self, activation: Tensor, hook: HookPoint) -> Here:
        current = self.current or CurrentPass(self.model, None, None)  # a tower that was called by itself
        return Here.at(self.model, hook, activation, current)

    def _is_skipped(self, one: Attachment) -> bool:
        return any(one is other for other in self._skipped)

    # What it is told of

    def _before_pass(self, module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if self._is_paused:
            return
        given: Any = args[0] if args else options.get("input", options.get("inputs"))
        past = options.get("past")
        n_before = 0 if past is None else past.n_positions
        if n_before:
            self.current = next_pass(self._last, self.model, given, n_before)
            if self.record is not None:
                self.record.tokens.append(given)
                self.record.layout = self.current.layout
        else:
            self.current = planned_pass(first_pass(self.model, given), self.n_expected)
            self._check(self.current, options.get("start_at_layer"), options.get("stop_at_layer"))
            self.record = Record(self.model, given, self.current.layout, self.current.pictures, skipped=self._skipped)
            self.record.options = _options_of(args, options)
            self.record.beside, self.record.n_expected = standing_at(self.model), self.n_expected
            self._results = {}
        self._last = self.current

    _last: CurrentPass | None = None
    _is_paused = False

    def _after_pass(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._is_paused:
            return
        if self.record is not None and isinstance(output, Tensor):
            self.record.ends.append((output[:, -1] if output.ndim == 3 else output).detach().clone())
        self._close_pass()

    def _close_pass(self) -> None:
        """The pass has ended: what was worked out for it goes."""
        if self.current is not None:
            self.current.memo.clear()
            self.current = None

    def _check(self, current: CurrentPass, start_at_layer: int | None, stop_at_layer: int | None) -> None:
        """Everything against the positions that will be run, before the model runs.

        Raises:
            EmptySelectionError: an object that finds nothing to act on and was not made to skip that.
            PositionError: positions that do not exist, or of another picture or row.
            HookError: heads that do not exist, a query left without a key.
        """
        ground, skipped = Ground(self.model, whole(current)), list(self._missing)
        for one in self.objects:
            if any(one is other for other in self._missing):
                continue
            try:
                check_is_reached(self.model, one, self.hook_names[id(one)], current, start_at_layer, stop_at_layer)
                one.check(ground)
            except EmptySelectionError:
                if one.on_empty == "raise":
                    raise
                skipped.append(one)
        self._skipped = tuple(skipped)
        check_no_query_is_left_alone(ground, [one for one in self.objects if not self._is_skipped(one)])


def standing_at(model: Any) -> tuple[Session, ...]:
    """The sessions that stand at a model, in the order in which they came."""
    found: tuple[Session, ...] = getattr(model, "_standing", ())
    return found


def _marked(hook: Any, **marks: bool) -> Any:
    for name, value in marks.items():
        setattr(hook, name, value)
    return hook


def _options_of(args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """What a pass was given besides its input and the keys and values of passes before it."""
    named = {name: value for name, value in options.items() if name not in ("input", "inputs", "past")}
    return {**named, "return_type": args[1]} if len(args) > 1 else named


def _check_objects(objects: tuple[Any, ...]) -> None:
    for place, one in enumerate(objects):
        if not isinstance(one, Attachment):
            raise HookError("Attaching failed", "interventions and probes", repr(one), "Build it: LogitLens().")
        if not isinstance(one, Writer) and any(one is other for other in objects[:place]):
            raise HookError("Attaching failed", "each probe once", repr(one), "Make a second one; both keep apart.")


def _warn_of_unreachable(model: Any, objects: Sequence[Attachment], hook_names: dict[int, list[str]]) -> None:
    """Warn of writers that stand only where nothing is read any more: behind the vision tower's selected layer."""
    behind = {point.name for point in getattr(model, "behind_features", ())}
    for one in objects:
        names = hook_names[id(one)]
        if isinstance(one, Writer) and names and behind.issuperset(names):
            warnings.warn(
                f"{one!r} can reach nothing: {names[0]} and all its other hooks lie behind the layer of the "
                "vision tower that the decoder is given.",
                stacklevel=4,
            )
