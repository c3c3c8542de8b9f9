"""The conditions that one example is run under, and what is read of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlm_lens.inputs import Inputs


@dataclass(frozen=True, eq=False)
class Grid:
    """The conditions that one example is run under.

    Attributes:
        inputs: picture and prompt.
        conditions: by name (a text, or several as a tuple) an intervention, or several.
        read: what is kept of each; see `HookedVLM.sweep`.
    """

    inputs: Inputs
    conditions: Mapping[Any, Any]
    read: Any
