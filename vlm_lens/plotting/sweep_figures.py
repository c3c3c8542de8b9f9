"""One number of every condition of a sweep: a line, or a heat map over two axes."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import template

LESS, MORE = "#f97316", "#4f46e5"
"""Below the clean run, and above it."""
MOST_LABELS = 40


def sweep_lines(
    lines: Mapping[str, Float[np.ndarray, " condition"]],
    labels: Sequence[str],
    *,
    axis: str = "condition",
    clean: float | None = None,
    title: str = "",
) -> go.Figure:
    """A line over the conditions, with the clean run's value as a dashed one.

    Args:
        lines: for each name its values.
        labels: of the conditions, in order.
        axis: what they are.
        clean: the value of the run that nothing was done to.
        title: of the vertical axis.
    """
    assert all(len(values) == len(labels) for values in lines.values())
    figure = go.Figure()
    for name, values in lines.items():
        figure.add_scatter(
            x=list(range(len(labels))),
            y=values,
            name=escaped(name),
            mode="lines+markers",
            customdata=[escaped(label) for label in labels],
            hovertemplate=f"<b>%{{y:.4g}}</b><br>{escaped(axis)} %{{customdata}}<extra></extra>",
        )
    if clean is not None:
        figure.add_hline(y=clean, line_dash="dash", line_color="#64748b", annotation_text=f"clean {clean:.3g}")
    figure.update_layout(template=template(), showlegend=len(lines) > 1, height=360)
    step = max(1, -(-len(labels) // MOST_LABELS))
    places = list(range(0, len(labels), step))
    figure.update_xaxes(title=escaped(axis), tickvals=places, ticktext=[escaped(labels[place]) for place in places])
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
    reach = max(float(np.nanmax(np.abs(values - clean), initial=0.0)), 1e-9)
    axes = f"{escaped(row_axis)} %{{y}} · {escaped(column_axis)} %{{x}}"
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[escaped(one) for one in columns],
            y=[escaped(one) for one in rows],
            zmin=clean - reach,
            zmax=clean + reach,
            colorscale=[[0.0, LESS], [0.5, "#ffffff"], [1.0, MORE]],
            xgap=1,
            ygap=1,
            hoverongaps=False,
            texttemplate="%{z:.3g}" if values.size <= 150 else None,
            colorbar={"title": escaped(title), "tickvals": [clean - reach, clean, clean + reach],
                      "ticktext": [f"{clean - reach:.3g}", f"clean {clean:.3g}", f"{clean + reach:.3g}"]},
            hovertemplate=f"<b>%{{z:.4g}}</b><br>{axes}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(template=template(), height=max(280, 120 + 34 * len(rows)))
    figure.update_xaxes(title=escaped(column_axis), type="category")
    figure.update_yaxes(title=escaped(row_axis), type="category", autorange="reversed")
    return figure
