"""The figures: bars (2), curves over layers (2, 4, 5, 10 to 16), sizes (8)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlm_lens.experiments.object_parts.knockouts import NONE
from vlm_lens.experiments.part_identification.frames import ALL, averages, size_bins
from vlm_lens.plotting.class_bars import class_bars
from vlm_lens.plotting.panel_lines import panel_lines

ELSEWHERE = "elsewhere in the picture"
SCORE = "identifiability"


def bars(tidy: pd.DataFrame, model: str) -> Any:
    """Figure 2, left: parts plain, objects hatched.

    Args:
        tidy: of the table "part and object".
        model: what the colour stands for.
    """
    shown = tidy[tidy["what"].isin(["part", "object"])]
    levels = tidy[tidy["what"] == "part elsewhere"]
    return class_bars(
        shown.assign(series=shown["what"], colour=model), y_title=SCORE, hatched=("object",), levels=levels
    )


def progress(curves: pd.DataFrame, null: pd.DataFrame, facts: Mapping[str, Any]) -> Any:
    """Figure 2, right: identifiability by the share of layers computed."""
    rows = curves[(curves["class"] == ALL) & (curves["setting"] == NONE)]
    shown = pd.concat([rows.assign(line=facts["model"] or "parts"), null[null["class"] == ALL].assign(line=ELSEWHERE)])
    shown = shown.assign(panel="all", x=100 * shown["layer"] / facts["n_layers"])
    return panel_lines(shown, x_title="layers computed, %", y_title=SCORE, controls=(ELSEWHERE,), y_range=(0.0, 1.02))


def by_layer(
    curves: pd.DataFrame, null: pd.DataFrame, settings: Sequence[str], panels: Sequence[str], n_columns: int = 4
) -> Any:
    """Figures 4, 5 and 10 to 16: a line for each setting over the layers, a panel for each class or case.

    Args:
        curves: tidy rows with `class`, `setting`, `layer`.
        null: the same without `setting`: elsewhere in the picture, without a knockout.
        settings: the lines, in their order.
        panels: the classes, in their order.
        n_columns: panels side by side.
    """
    lines = [curves[curves["setting"] == one].assign(line=one) for one in settings]
    every = pd.concat([*lines, null.assign(line=ELSEWHERE)])
    shown = pd.concat([every[every["class"] == one].assign(panel=one) for one in panels])
    return panel_lines(
        shown.assign(x=shown["layer"]), x_title="decoder layer", y_title=SCORE, n_columns=n_columns,
        controls=(ELSEWHERE,), y_range=_range(shown),
    )  # fmt: skip


def case_rows(frame: pd.DataFrame, cases: Sequence[str]) -> pd.DataFrame:
    """The rows of single cases, such as "cat eye", as classes of their own; those that do not occur are left out."""
    rows = frame[frame["class"] == ALL]
    names = rows["category"] + " " + rows["part"]
    return pd.concat([rows[names == case].assign(**{"class": case}) for case in cases])


def by_size(clean: pd.DataFrame, options: Any) -> Any:
    """Figure 8: four bins of part sizes, a panel for each case and for all parts."""
    rows = clean[clean["class"] == ALL]
    number, names = size_bins(rows["share"], options.bins)
    rows = rows.assign(size=number)
    every = pd.concat([case_rows(rows, options.cases), rows])
    lines = {"parts": "score", ELSEWHERE: "null", "random logits": "chance"}
    shown = pd.concat(
        [averages(every, value, ["class", "size"], options).assign(line=line) for line, value in lines.items()]
    )
    shown = shown.assign(panel=shown["class"], x=shown["size"])
    return panel_lines(
        shown, x_title="share of the picture, up to", y_title=SCORE, n_columns=3, controls=tuple(lines)[1:],
        y_range=(0.0, 1.02), ticks={place: name.split()[-1] for place, name in enumerate(names)},
    )  # fmt: skip


def _range(shown: pd.DataFrame) -> tuple[float, float]:
    """From a tenth below the lowest value to 1."""
    return max(0.0, float(shown["value"].min()) // 0.1 / 10), 1.02
