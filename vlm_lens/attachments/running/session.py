"""What is attached to a model, as a user holds it."""

from typing import Any

from vlm_lens.attachments.attachment import Attachment, Reader, Writer
from vlm_lens.attachments.running.standing import Standing, standing_at
from vlm_lens.errors import EmptySelectionError, HookError
from vlm_lens.layout import TokenLayout


class Session(Standing):
    """What stands at a model, and what it found: `with vlm.attach(lens) as run: ...; run[lens]`."""

    def __getitem__(self, one: Attachment) -> Any:
        """What a reader found in the last run; None if there was nothing to read and it was made to skip that.

        Raises:
            HookError: for an object that is not attached or that reads nothing, or before anything was run.
            EmptySelectionError: for a reader whose positions were never run, as when a generation ends at once.
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
        try:
            self._results[id(one)] = one.result(self.record.reads.get(id(one), []), self.record)
        except EmptySelectionError:  # what it asks for was never run
            if one.on_empty == "raise":
                raise
            self._results[id(one)] = None
        return self._results[id(one)]

    def keep(self, one: Attachment, result: Any) -> None:
        """What a measure found."""
        self._results[id(one)] = result

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

    @property
    def inputs(self) -> Any:
        """What the last run was given; None before any."""
        return None if self.record is None else self.record.given

    @property
    def layout(self) -> TokenLayout | None:
        """What each position of the last run is; None before any, and without text."""
        return None if self.record is None else self.record.layout

    def __repr__(self) -> str:
        last = "nothing run yet" if self.record is None else f"last run: {self.record.n_steps} passes"
        return f"Attached({', '.join(map(repr, self.objects)) or 'nothing'}; {last})"
