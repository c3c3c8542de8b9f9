"""A finished run of part-identification, to stand beside CLIP's figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.object_parts.knockouts import NONE
from vlm_lens.experiments.part_identification.frames import REGION

NAME = "part-identification"


@dataclass(frozen=True, eq=False)
class Beside:
    """What is taken of it.

    Attributes:
        model: its name.
        identifiability: tidy rows with class, model, what, value, low, high, n.
        regions: a row for each region with `score` and `null` after the layer of its tables, and `share`.
    """

    model: str
    identifiability: pd.DataFrame
    regions: pd.DataFrame


def read_beside(folder: str) -> Beside | None:
    """The run in a folder; None for no folder.

    Raises:
        InputError: no finished run, or one of another experiment.
    """
    if not folder:
        return None
    # An experiment reads another one's run; at the top, this import would go round in a circle.
    from vlm_lens.experiments.part_identification.frames import at_layer, joined
    from vlm_lens.experiments.result import ExperimentResult

    found = ExperimentResult.load(Path(folder))
    if found.spec.experiment != NAME:
        raise InputError(f"Option 'beside', {folder}", f"a run of {NAME}", f"one of {found.spec.experiment}")
    model: Any = found.spec.facts["model"] or found.spec.model["name"]
    tidy = found.to_dataframe("part and object")
    here, _ = at_layer(joined(found.rows), str(found.spec.options["layer"]), int(found.spec.facts["n_layers"]))
    clean = here[here["setting"] == NONE]
    return Beside(str(model), tidy.assign(model=str(model)), clean[[*REGION, "score", "null", "share"]])
