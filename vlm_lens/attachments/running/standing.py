"""Attachments standing at a model: they are checked, told of every pass, and gone when the block ends."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from vlm_lens.attachments.attachment import Attachment, Read, Reader, Writer
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.running.checks import check_objects, warn_of_unreachable
from vlm_lens.attachments.running.current_pass import CurrentPass
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.attachments.running.lonely_queries import check_no_query_is_left_alone
from vlm_lens.attachments.running.passes import first_pass, next_pass, planned_pass, whole
from vlm_lens.attachments.running.reach import check_is_reached
from vlm_lens.attachments.running.record import Record
from vlm_lens.attachments.running.rows_asked import is_local, rows_asked
from vlm_lens.errors import EmptySelectionError, HookError
from vlm_lens.layout import TokenLayout
from vlm_lens.model.hook_point import HookPoint


class Watcher:
    """Someone who is shown each activation before and after every writer: a proof that it acted."""

    def before(self, writer: Writer, activation: Tensor, here: Here) -> Tensor | None:
        """What the writer is about to be given; another tensor takes its place."""

    def after(self, writer: Writer, activation: Tensor, here: Here) -> None:
        """What the writer has left."""


class Standing:
    """Objects at the hooks of a model, told of every pass and recording what it was.

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
        check_objects(self.objects)
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
        warn_of_unreachable(model, self.objects, self.hook_names, stacklevel=3)

    @contextmanager
    def standing(self) -> Iterator["Standing"]:
        """Everything attached stands until the block ends, by an error and by an interrupt too."""
        hooks = [
            (name, hook)
            for one in self.objects
            for name in self.hook_names[id(one)]
            for hook in self._hooks_of(one, name)
        ]
        outer = standing_at(self.model)
        with ExitStack() as stack:
            stack.callback(self._close_pass)
            stack.enter_context(_removed(self.model.register_forward_pre_hook(self._before_pass, with_kwargs=True)))
            stack.enter_context(_removed(self.model.register_forward_hook(self._after_pass, always_call=True)))
            stack.callback(setattr, self.model, "_standing", outer)
            self.model._standing = (*outer, self)
            stack.enter_context(self.model.hooks(fwd_hooks=hooks))
            yield self

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Until the block ends its writers act and its readers read nothing: the runs are somebody else's."""
        before, self._is_recording = self._is_recording, False
        try:
            yield
        finally:
            self._is_recording = before

    def expect(self, n_new: int) -> None:
        """So many tokens will be generated, and their positions are no mistake."""
        self.n_expected = n_new

    def finish(self, layout: TokenLayout) -> None:
        """The layout of a whole generation, with its texts and the rows' ends."""
        assert self.record is not None
        self.record.layout, self.record.is_whole = layout, True

    def _hooks_of(self, one: Attachment, name: str) -> list[Any]:
        """The hooks of one object on one hook point."""
        if isinstance(one, Reader):
            read = _marked(partial(self._read, one), reads_only=True)
            return [_marked(read, rows_asked=partial(self._rows_asked, one, name)) if is_local(one) else read]
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
        if self._is_paused or not self._is_recording or self._is_skipped(reader):
            return
        here, before = self._here(activation, hook), _version(activation)
        value = reader.read(activation, here)
        if _version(activation) != before:
            rule = "a reader that leaves the activation as it is"
            raise HookError(f"{reader.label} at {here.name}", rule, "an edit in place", "Clone it, or write a Writer.")
        if value is not None and self.record is not None:
            self.record.reads.setdefault(id(reader), []).append(Read(here, value))

    def _rows_asked(self, reader: Reader, name: str) -> tuple[int, ...] | None:
        """The query rows of this pass that a local reader looks at; None for all."""
        if self._is_paused or not self._is_recording or self._is_skipped(reader):
            return ()
        return None if self.current is None else rows_asked(reader, name, self.current)

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
            if self.record is not None and self._is_recording:
                self.record.tokens.append(given)
                self.record.layout = self.current.layout
        else:
            first = first_pass(self.model, given, options.get("attention_mask"), keeps_keys=past is not None)
            self.current = planned_pass(first, self.n_expected)
            self._check(self.current, given, options.get("start_at_layer"), options.get("stop_at_layer"))
            if self._is_recording:
                self._begin_record(given, _options_of(args, options))
        self._last = self.current

    def _begin_record(self, given: Any, options: dict[str, Any]) -> None:
        assert self.current is not None
        self.record = Record(
            self.model,
            given,
            self.current.layout,
            self.current.pictures,
            skipped=self._skipped,
            options=options,
            beside=standing_at(self.model),
            n_expected=self.n_expected,
        )
        self._results = {}

    _last: CurrentPass | None = None
    _is_paused = False
    _is_recording = True

    def _after_pass(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._is_paused:
            return
        if self.record is not None and self._is_recording and isinstance(output, Tensor):
            self.record.ends.append((output[:, -1] if output.ndim == 3 else output).detach().clone())
        self._close_pass()

    def _close_pass(self) -> None:
        """The pass has ended: what was worked out for it goes."""
        if self.current is not None:
            self.current.memo.clear()
            self.current = None

    def _check(
        self,
        current: CurrentPass,
        given: Any,
        start_at_layer: int | None,
        stop_at_layer: int | None,
        ground: Ground | None = None,
    ) -> None:
        """Everything against the positions that will be run, before the model runs.

        Raises:
            EmptySelectionError: an object that finds nothing to act on and was not made to skip that.
            PositionError: positions that do not exist, or of another picture or row.
            HookError: heads that do not exist, a query left without a key.
        """
        ground, skipped = ground or Ground(self.model, whole(current)), list(self._missing)
        for one in self.objects:
            if any(one is other for other in self._missing):
                continue
            try:
                names = self.hook_names[id(one)]
                check_is_reached(self.model, one, names, current, given, start_at_layer, stop_at_layer)
                one.check(ground)
            except EmptySelectionError:
                if one.on_empty == "raise":
                    raise
                skipped.append(one)
        self._skipped = tuple(skipped)
        check_no_query_is_left_alone(ground, [one for one in self.objects if not self._is_skipped(one)])


def standing_at(model: Any) -> tuple[Standing, ...]:
    """The sessions that stand at a model, in the order in which they came."""
    found: tuple[Standing, ...] = getattr(model, "_standing", ())
    return found


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    """A torch hook that goes with the block."""
    try:
        yield
    finally:
        handle.remove()


def _marked(hook: Any, **marks: Any) -> Any:
    for name, value in marks.items():
        setattr(hook, name, value)
    return hook


def _version(activation: Tensor) -> int:
    """How often a tensor was edited in place; torch does not count for inference tensors."""
    return 0 if activation.is_inference() else activation._version


def _options_of(args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """What a pass was given besides its input and the keys and values of passes before it."""
    named = {name: value for name, value in options.items() if name not in ("input", "inputs", "past")}
    return {**named, "return_type": args[1]} if len(args) > 1 else named
