"""How often parts are named: with each object as a heat map, at all as bars; and against how well they are read."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import WORD_COLOURS, template

SCALE = ((0.0, "#f8fafc"), (0.5, "#93c5fd"), (1.0, "#1d4ed8"))
DARK = 0.6  # of the scale: from here on, numbers are white


def mention_heatmap(counts: pd.DataFrame, any_text: str) -> go.Figure:
    """Parts as rows, objects as columns, coloured by the logarithm of their counts; bars for the parts beside them.

    Args:
        counts: tidy rows with `part`, `object`, `value`, `low`, `high`; a part that an object lacks has no row.
        any_text: what stands for an object in the rows of parts at all.
    """
    alone = counts[counts["object"] == any_text].set_index("part")
    pairs = counts[counts["object"] != any_text]
    objects, parts = list(dict.fromkeys(pairs["object"])), list(alone.index)
    wide = pairs.pivot(index="part", columns="object", values="value").reindex(index=parts, columns=objects)
    values = wide.to_numpy(np.float64)
    heat = np.log10(1 + values)
    figure = make_subplots(
        cols=2, shared_yaxes=True, column_widths=[0.66, 0.34], horizontal_spacing=0.03,
        subplot_titles=["named together with the object", "named at all"],
    )  # fmt: skip
    figure.update_annotations(font_size=13)
    figure.add_heatmap(
        z=heat, x=[escaped(name) for name in objects], y=[escaped(part) for part in parts], customdata=values,
        colorscale=SCALE, showscale=False, xgap=2, ygap=2, row=1, col=1,
        hovertemplate="%{y} with %{x}: <b>%{customdata:.0f}</b> texts<extra></extra>", hoverongaps=False,
    )  # fmt: skip
    highest = max(float(np.nanmax(heat)), 1e-9)
    for row, column in np.argwhere(~np.isnan(values)):
        colour = "white" if heat[row, column] > DARK * highest else "#0f172a"
        text = _short(values[row, column])
        figure.add_annotation(
            x=column, y=row, text=text, showarrow=False, font={"size": 10, "color": colour}, row=1, col=1
        )  # fmt: skip
    value, low, high = (alone[name].to_numpy(float) for name in ("value", "low", "high"))
    figure.add_bar(
        x=value, y=[escaped(part) for part in parts], orientation="h", marker={"color": WORD_COLOURS[0]},
        error_x={"type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low, "thickness": 1,
                 "width": 2},
        hovertemplate="%{y}: <b>%{x:.0f}</b> texts<extra></extra>", showlegend=False, row=1, col=2,
    )  # fmt: skip
    figure.update_xaxes(tickangle=-45, showgrid=False, row=1, col=1)
    figure.update_xaxes(title="texts", row=1, col=2, rangemode="tozero")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    margin = {"l": 8, "r": 16, "t": 40, "b": 8}
    figure.update_layout(template=template(), height=130 + 24 * len(parts), margin=margin, bargap=0.3)
    return figure


def mentions_against_scores(pairs: pd.DataFrame) -> go.Figure:
    """A dot for each part of an object: how often both are named, and how well the part is identified.

    Parts are named where the pointer is: as words they would lie over each other.

    Args:
        pairs: with `object`, `part`, `count`, `score`.
    """
    figure = go.Figure()
    for (name, group), colour in zip(pairs.groupby("object", sort=False), WORD_COLOURS * 4, strict=False):
        figure.add_scatter(
            x=1 + group["count"], y=group["score"], mode="markers", text=[escaped(one) for one in group["part"]],
            name=escaped(str(name)), marker={"color": colour, "size": 9, "opacity": 0.85},
            hovertemplate="%{text}: %{y:.2f}, %{x:.0f} texts<extra>" + escaped(str(name)) + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(type="log", dtick="D2", title="1 + texts that name part and object")
    figure.update_yaxes(title="identifiability (OPI)")
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    figure.update_layout(template=template(), height=480, margin={"l": 8, "r": 16, "t": 40, "b": 8}, legend=legend)
    return figure


def _short(count: float) -> str:
    """A count in few letters: 950, 12k, 1.2M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if count >= 10 * size or (count >= size and unit == "M"):
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"
