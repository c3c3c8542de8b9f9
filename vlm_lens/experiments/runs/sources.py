"""Where a run's model comes from, so that any process can load it."""

from dataclasses import dataclass, replace
from typing import Any

from vlm_lens.errors import InputError
from vlm_lens.hooked_vlm import HookedVLM

BUNDLED = "demo"


@dataclass(frozen=True)
class ModelSource:
    """A checkpoint and how to load it.

    Attributes:
        path_or_name: a folder, a name on the hub, or "demo" for the bundled model.
        revision: branch, tag or commit on the hub.
        dtype: of the weights; None keeps the checkpoint's.
        device: "cpu", "cuda:1", "auto"; None for a GPU where there is one.
    """

    path_or_name: str = BUNDLED
    revision: str | None = None
    dtype: str | None = None
    device: str | None = None

    def load(self) -> HookedVLM:
        """The model.

        Raises:
            InputError: another precision or revision of the bundled model, which has none.
            CheckpointError: see `HookedVLM.from_pretrained`.
        """
        if self.path_or_name == BUNDLED:
            if self.revision is not None or self.dtype not in (None, "float32"):
                got = f"revision {self.revision}, {self.dtype}"
                raise InputError("The bundled model", "its one revision, in float32", got, "Leave both out.")
            return HookedVLM.demo(device=self.device)
        given: dict[str, Any] = {"device": self.device, "dtype": self.dtype, "revision": self.revision}
        return HookedVLM.from_pretrained(self.path_or_name, **given)

    def on(self, device: str | None) -> "ModelSource":
        """The same on another device."""
        return self if device is None else replace(self, device=device)
