"""The errors a user can meet.

Every message has one form: `<what failed>: expected <rule>, got <value or shape>. <what to do>.`
All of them derive from `VlmLensError`; those that concern a value also derive from `ValueError`, so that
code which knows nothing of this package can catch them.
"""


class VlmLensError(Exception):
    """Anything this package refuses, on purpose."""

    def __init__(self, what: str, expected: str, got: object, advice: str = "") -> None:
        self.what, self.expected, self.got, self.advice = what, expected, got, advice
        message = f"{what}: expected {expected}, got {got}."
        super().__init__(f"{message} {advice}" if advice else message)

    def __reduce__(self) -> tuple[type, tuple[str, str, object, str]]:
        """An error crosses to another process with what it says."""
        return type(self), (self.what, self.expected, self.got, self.advice)


class InputError(VlmLensError, ValueError):
    """A picture, prompt, mask or mapping that the model cannot take."""


class PositionError(VlmLensError, ValueError):
    """A position, role or region that the sequence does not have."""


class EmptySelectionError(PositionError):
    """A selection of positions or layers that means none: the object that has it would touch nothing."""


class HookError(VlmLensError, ValueError):
    """A hook name that does not exist, or a hook that returned another shape."""


class UnsupportedModelError(VlmLensError, ValueError):
    """A checkpoint of a family that has no adapter."""


class CheckpointError(VlmLensError, OSError):
    """A checkpoint folder that is missing, incomplete or damaged."""


class WeightsError(VlmLensError, RuntimeError):
    """A weight that a quantised or wrapped linear does not have in plain form."""


class ActivationError(VlmLensError, KeyError):
    """An activation that a cache does not hold."""

    __str__ = Exception.__str__


class EstimateError(VlmLensError, ValueError):
    """A mean of another model, preprocessing or data set than it is used or continued with."""


class VerificationError(VlmLensError, AssertionError):
    """A writer that did not do what it says, or a run that cannot be repeated."""


class JudgeError(VlmLensError, RuntimeError):
    """A language model that cannot be asked, does not answer, or does not answer in the form it was asked for."""
