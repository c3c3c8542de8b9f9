"""What is made of the rows: tables, figures, findings, notes."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from vlm_lens.experiments.object_parts.knockouts import ENCODER, FULL, NONE, SETTINGS
from vlm_lens.experiments.part_identification import panels, tables
from vlm_lens.experiments.part_identification.findings import findings
from vlm_lens.experiments.part_identification.frames import ALL, at_layer, averages, in_order, joined
from vlm_lens.experiments.part_identification.notes import notes
from vlm_lens.experiments.summary import Summary


def summarised(rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
    """Table 3, the settings, and what figures 2, 4, 5, 8 and 10 to 16 show.

    Raises:
        InputError: nothing was read.
    """
    frame = in_order(options.classes, joined(rows))
    here, layer = at_layer(frame, options.layer, facts["n_layers"])
    clean = here[here["setting"] == NONE]
    n_pictures, n_regions = frame["example"].nunique(), int((clean["class"] == ALL).sum())
    n = f"N = {n_pictures} pictures, {n_regions} part regions"
    found = tables.tables(here, options, facts, f"After layer {layer} of {facts['n_layers']}; {n}")
    settings = tables.settings_of(here, facts)
    curves = averages(frame, "score", ["class", "setting", "layer"], options)
    null = averages(frame[frame["setting"] == NONE], "null", ["class", "layer"], options)
    found["layers"] = tables.layers(curves, settings, n)
    classes = list(dict.fromkeys(curves["class"]))
    figures = {
        "part and object": partial(panels.bars, found["part and object"].tidy, facts["model"]),
        "progress": partial(panels.progress, curves, null, facts),
        "settings by class": partial(panels.by_layer, curves, null, SETTINGS, classes),
        "settings": partial(_cases, frame, curves, null, options),
        "sizes": partial(panels.by_size, clean, options),
    }
    if any(one in settings for one in facts["last"]):
        lines = (NONE, *facts["last"], ENCODER, FULL)
        figures["last layers"] = partial(panels.by_layer, curves, null, lines, [ALL])
        figures["last layers by class"] = partial(panels.by_layer, curves, null, lines, classes)
    return Summary(found, figures, findings(here, options, facts), notes(rows, options, facts, layer))


def _cases(frame: pd.DataFrame, curves: pd.DataFrame, null: pd.DataFrame, options: Any) -> Any:
    """Figure 4: five cases, then all parts."""
    rows = panels.case_rows(frame, options.cases)
    of_cases = averages(rows, "score", ["class", "setting", "layer"], options)
    null_of_cases = averages(rows[rows["setting"] == NONE], "null", ["class", "layer"], options)
    shown = [*(case for case in options.cases if case in set(of_cases["class"])), ALL]
    return panels.by_layer(
        pd.concat([of_cases, curves]), pd.concat([null_of_cases, null]), SETTINGS, shown, n_columns=3
    )
