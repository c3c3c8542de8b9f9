"""Probes that run the model again: gradients, grids of patches."""

from abc import ABC, abstractmethod
from typing import Any

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.attachments.running.again import Again


class Measure(Attachment, ABC):
    """A probe that runs the model again, under the writers that come before it: gradients, grids of patches."""

    def hook_names(self, model: Any) -> list[str]:
        """It stands at no hook while the model runs for the first time."""
        return []

    @abstractmethod
    def measure(self, again: Again) -> Any:
        """What `run[measure]` gives."""
