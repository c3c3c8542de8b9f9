"""The figures: bars (6), curves over layers (9), sizes (8)."""

from typing import Any

import pandas as pd

from vlm_lens.experiments.part_identification.frames import ALL, averages, size_bins
from vlm_lens.experiments.part_identification.panels import ELSEWHERE, SCORE, case_rows
from vlm_lens.experiments.part_identification_clip.beside import Beside
from vlm_lens.plotting.class_bars import class_bars
from vlm_lens.plotting.panel_lines import panel_lines

PART, OBJECT = "part", "object"


def bars(main: pd.DataFrame) -> Any:
    """Figure 6: for each model the part plain and the object hatched, by class.

    Args:
        main: tidy rows by class, model and what.
    """
    shown = main[main["what"].isin([PART, OBJECT])]
    series = shown["model"] + " " + shown["what"]
    hatched = sorted(set(series[shown["what"] == OBJECT]))
    return class_bars(shown.assign(series=series, colour=shown["model"]), y_title=SCORE, hatched=hatched)


def by_layer(frame: pd.DataFrame, options: Any, depth: int) -> Any:
    """Figure 9: parts and objects by the layer from which the class token is held to the part.

    Args:
        frame: rows by class.
        options: of the experiment.
        depth: of the tower; at this place the class token is not held at all.
    """
    lines = {PART: "score", OBJECT: "object_score", ELSEWHERE: "null"}
    shown = pd.concat(
        [averages(frame, value, ["class", "from_layer"], options).assign(line=line) for line, value in lines.items()]
    )
    step = max(1, depth // 6)
    ticks = {layer: str(layer) for layer in range(0, depth, step)} | {depth: "none"}
    return panel_lines(
        shown.assign(panel=shown["class"], x=shown["from_layer"]), x_title="held to the part from layer",
        y_title=SCORE, controls=(ELSEWHERE,), y_range=(0.0, 1.02), ticks=ticks,
    )  # fmt: skip


def by_size(held: pd.DataFrame, beside: Beside | None, options: Any) -> Any:
    """Figure 8: CLIP held to the part, and the language model where there is a run, by part size.

    Args:
        held: rows by class, at one layer.
        beside: the run of part-identification.
        options: of the experiment.
    """
    rows = held[held["class"] == ALL]
    lines = [("CLIP", rows, "score"), (ELSEWHERE, rows, "null")]
    if beside is not None:
        lines.insert(1, (beside.model, beside.regions.assign(**{"class": ALL}), "score"))
    number, names = size_bins(rows["share"], options.bins)
    # Other crops see other parts, so the bins are made of one of them and the other is put into them.
    edges = rows["share"].groupby(number).max().to_list()
    pieces = []
    for name, table, value in lines:
        table = table.assign(size=table["share"].map(lambda share: sum(share > edge for edge in edges[:-1])))
        every = pd.concat([case_rows(table, options.cases), table])
        pieces.append(averages(every, value, ["class", "size"], options).assign(line=name))
    shown = pd.concat(pieces)
    return panel_lines(
        shown.assign(panel=shown["class"], x=shown["size"]), x_title="share of the picture, up to", y_title=SCORE,
        n_columns=3, controls=(ELSEWHERE,), y_range=(0.0, 1.02),
        ticks={place: name.split()[-1] for place, name in enumerate(names)},
    )  # fmt: skip
