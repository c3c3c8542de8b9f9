"""Attention maps of both towers, without and with a knockout, beside the picture as its patches have it."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vlm_lens.plotting.markup import escaped
from vlm_lens.plotting.theme import template

TARGET = "#22c55e"
SCALE = "Viridis"
CELL = 150


def knockout_maps(maps: pd.DataFrame, patches: pd.DataFrame, *, title: str = "") -> go.Figure:
    """A row for each tower and setting, a column for each layer; the patches that are cut off have a green border.

    Each map has its own colours, from zero to its largest value.

    Args:
        maps: rows with `tower`, `setting`, `layer`, `patch_row`, `patch_col`, `attention`.
        patches: rows with `patch_row`, `patch_col`, `is_part` and `colour` ("#rrggbb").
        title: what is shown.
    """
    places = list(dict.fromkeys(zip(maps["tower"], maps["setting"], strict=True)))
    layers = {place: sorted(set(_of(maps, place)["layer"])) for place in places}
    n_columns = 1 + max(map(len, layers.values()))
    names = [name for place in places for name in _titles(place, layers[place], n_columns, place == places[0])]
    figure = make_subplots(len(places), n_columns, subplot_titles=names, horizontal_spacing=0.02, vertical_spacing=0.09)
    figure.update_annotations(font_size=11)
    figure.add_trace(go.Image(z=_mosaic(patches), hoverinfo="skip"), row=1, col=1)
    _outline(figure, patches, 1, 1)
    for row, place in enumerate(places, start=1):
        for column, layer in enumerate(layers[place], start=2):
            here = _of(maps, place)
            table = here[here["layer"] == layer].pivot(index="patch_row", columns="patch_col", values="attention")
            figure.add_heatmap(
                z=table.to_numpy(), zmin=0, colorscale=SCALE, showscale=False, row=row, col=column,
                hovertemplate="<b>%{z:.3%}</b><br>patch row %{y}, column %{x}<extra></extra>",
            )  # fmt: skip
            _outline(figure, patches, row, column)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed", constrain="domain")
    for number in range(1, len(places) * n_columns + 1):
        axis = "" if number == 1 else str(number)
        figure.layout[f"yaxis{axis}"].scaleanchor = f"x{axis}"
    figure.update_layout(
        template=template(), title={"text": escaped(title), "font": {"size": 13}},
        height=80 + len(places) * (CELL + 30),
        margin={"l": 8, "r": 8, "t": 74, "b": 8}, showlegend=False,
    )  # fmt: skip
    return figure


def _of(maps: pd.DataFrame, place: tuple[str, str]) -> pd.DataFrame:
    return maps[(maps["tower"] == place[0]) & (maps["setting"] == place[1])]


def _titles(place: tuple[str, str], layers: list[int], n_columns: int, is_first: bool) -> list[str]:
    """The picture's, then "layer 3"; the first of a row says tower and setting."""
    tower, setting = place
    named = [f"layer {layer}" for layer in layers]
    named[0] = f"{tower}, {setting}<br>{named[0]}"
    return ["the picture, by patch" if is_first else "", *named, *[""] * (n_columns - 1 - len(named))]


def _mosaic(patches: pd.DataFrame) -> np.ndarray:
    """`[patch_row patch_col 3]`."""
    table = patches.pivot(index="patch_row", columns="patch_col", values="colour")
    return np.array(
        [[[int(colour[start : start + 2], 16) for start in (1, 3, 5)] for colour in row] for row in table.to_numpy()],
        np.uint8,
    )


def _outline(figure: go.Figure, patches: pd.DataFrame, row: int, column: int) -> None:
    """A line along every edge between a patch of the part and another."""
    part = {(one.patch_row, one.patch_col) for one in patches[patches["is_part"]].itertuples()}
    x: list[float | None] = []
    y: list[float | None] = []
    for line, place in part:
        edges = (
            ((line - 1, place), (-0.5, -0.5), (-0.5, 0.5)), ((line + 1, place), (0.5, -0.5), (0.5, 0.5)),
            ((line, place - 1), (-0.5, -0.5), (0.5, -0.5)), ((line, place + 1), (-0.5, 0.5), (0.5, 0.5)),
        )  # fmt: skip
        for neighbour, start, end in edges:
            if neighbour not in part:
                x += [place + start[1], place + end[1], None]
                y += [line + start[0], line + end[0], None]
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"color": TARGET, "width": 2.5}, hoverinfo="skip", row=row, col=column
    )
