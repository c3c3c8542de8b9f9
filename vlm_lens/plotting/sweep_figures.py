"""One number of every condition of a sweep: a line, or a heat map over two axes."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import template

LESS, WHITE, MORE = "#f97316", "#ffffff", "#4f46e5"
"""Below the clean run, as it, and above it."""
MOST_LABELS = 40
TOP = 48
"""Pixels above a figure, for the buttons there."""
MOST_COLUMNS, MOST_CELLS = 12, 150
"""Of a heat map whose numbers are written into its cells."""
LONGEST = 28
"""Letters of a condition's name below a figure; pointing at it shows all of it."""
MOST_LETTERS = 100
"""Of all names together, that stand side by side."""
APART = 0.1
"""Of the colours' reach: ticks that are nearer to the clean run's would be written over it."""
NOTHING = 1e-3
"""Of the largest value: what changes by less is drawn pale, so that rounding is not taken for a finding."""


def sweep_lines(
    lines: Mapping[str, Float[np.ndarray, " condition"]],
    labels: Sequence[str],
    *,
    axis: str = "condition",
    clean: float | None = None,
    title: str = "",
    is_ordered: bool = True,
) -> go.Figure:
    """A line over the conditions, with the clean run's value as a dashed one.

    Args:
        lines: for each name its values.
        labels: of the conditions, in order.
        axis: what they are.
        clean: the value of the run that nothing was done to.
        title: of the vertical axis.
        is_ordered: whether neighbours belong together; if not, there are points without a line between them.
    """
    assert all(len(values) == len(labels) for values in lines.values())
    figure = go.Figure()
    for name, values in lines.items():
        figure.add_scatter(
            x=list(range(len(labels))),
            y=values,
            name=escaped(name),
            mode="lines+markers" if is_ordered else "markers",
            marker={"size": 7 if is_ordered else 10},
            customdata=[escaped(label) for label in labels],
            hovertemplate=f"<b>%{{y:.4g}}</b><br>{escaped(axis)} %{{customdata}}<extra></extra>",
        )
    if clean is not None:
        figure.add_hline(y=clean, line_dash="dash", line_color="#64748b", annotation_text=f"clean {clean:.4g}")
    figure.update_layout(template=template(), showlegend=len(lines) > 1, height=360, margin_t=TOP)
    step = max(1, -(-len(labels) // MOST_LABELS))
    places = list(range(0, len(labels), step))
    written = [_short(labels[place]) for place in places]
    if sum(map(len, written)) > MOST_LETTERS:  # they will stand upright
        figure.update_layout(height=360 + 6 * max(map(len, written)))
    figure.update_xaxes(title=escaped(axis), tickvals=places, ticktext=[escaped(label) for label in written])
    figure.update_yaxes(title=escaped(title))
    return figure


def sweep_heatmap(
    values: Float[np.ndarray, "row column"],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row_axis: str,
    column_axis: str,
    clean: float,
    title: str = "",
) -> go.Figure:
    """Every cell of a grid with two axes, coloured by how far it is from the clean run.

    Args:
        values: NaN is left blank.
        rows, columns: the labels.
        row_axis, column_axis: what they are.
        clean: the value of the run that nothing was done to, which has no colour.
        title: what the numbers are.
    """
    assert values.shape == (len(rows), len(columns))
    low, high = (float(at([clean, at(values[np.isfinite(values)], initial=clean)])) for at in (np.min, np.max))
    least = NOTHING * max(abs(low), abs(high))
    reach = max(high - clean, clean - low, least) or 1.0
    axes = f"{escaped(row_axis)} %{{y}} · {escaped(column_axis)} %{{x}}"
    ticks = [one for one in sorted({low, clean, high}) if one == clean or abs(one - clean) > APART * reach]
    is_written = values.size <= MOST_CELLS and len(columns) <= MOST_COLUMNS
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[escaped(one) for one in columns],
            y=[escaped(one) for one in rows],
            zmin=clean - reach if low < clean else clean,
            zmax=clean + reach if high > clean or low == clean else clean,
            colorscale=_scale(low < clean, high > clean or low == clean),
            xgap=1,
            ygap=1,
            hoverongaps=False,
            texttemplate="%{z:.3g}" if is_written else None,
            colorbar={
                "title": {"text": escaped(title), "side": "right"},
                "tickvals": ticks,
                "ticktext": [f"{'clean ' if one == clean else ''}{one:.3g}" for one in ticks],
            },
            hovertemplate=f"<b>%{{z:.4g}}</b><br>{axes}<extra></extra>",
        )
    )
    height = TOP + 90 + (34 if len(rows) <= 12 else 22) * len(rows)
    figure.update_layout(template=template(), height=max(300, height), margin_t=TOP)
    figure.update_xaxes(title=escaped(column_axis), type="category")
    figure.update_yaxes(title=escaped(row_axis), type="category", autorange="reversed", dtick=1)
    return figure


def _short(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST // 2]}…{label[-LONGEST // 2 + 1 :]}"


def _scale(has_less: bool, has_more: bool) -> list[list[object]]:
    """White for the clean run, at the end of the scale where nothing lies on its other side."""
    if has_less and has_more:
        return [[0.0, LESS], [0.5, WHITE], [1.0, MORE]]
    return [[0.0, LESS], [1.0, WHITE]] if has_less else [[0.0, WHITE], [1.0, MORE]]
