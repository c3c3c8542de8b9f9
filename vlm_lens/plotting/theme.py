"""Colours and type: one look for every figure, in a light and a dark room."""

from collections.abc import Sequence

import plotly.graph_objects as go

FONT = "Inter, 'Helvetica Neue', 'Segoe UI', system-ui, Arial, sans-serif"

WORD_COLOURS: tuple[str, ...] = (
    "#3b82f6",
    "#f97316",
    "#10b981",
    "#e11d74",
    "#a855f7",
    "#eab308",
    "#06b6d4",
    "#84522b",
)
"""One hue a word; neighbours in the list differ most."""
OTHER_COLOUR = "#64748b"

RUN_COLOURS: tuple[str, ...] = ("#6366f1", "#fb923c", "#f43f5e", "#94a3b8")
"""The clean run, a small intervention, a larger one, its control."""
REGION_COLOUR = "#ff2d78"
HEAT: tuple[tuple[float, str], ...] = (
    (0.0, "rgba(20, 12, 60, 0.50)"),
    (0.25, "rgba(96, 33, 130, 0.55)"),
    (0.5, "rgba(190, 50, 105, 0.62)"),
    (0.75, "rgba(247, 120, 50, 0.72)"),
    (1.0, "rgba(255, 236, 130, 0.88)"),
)
"""Dark where nothing is, glowing where much is; the picture stays visible below."""

GROUP_COLOURS = {
    "bos": "#94a3b8",
    "system": "#c4b5fd",
    "role": "#7dd3fc",
    "question": "#3b82f6",
    "answer": "#14b8a6",
    "generated": "#22c55e",
    "newline": "#d6d3d1",
    "other text": "#a8a29e",
    "other": "#a8a29e",
    "cls": "#94a3b8",
    "patches": "#fb923c",
    "object": "#f43f5e",
    "image": "#fb923c",
    "image: elsewhere": "#fbbf77",
    "image: object": "#f43f5e",
}


def rgba(colour: str, alpha: float) -> str:
    """`#rrggbb` with an opacity, as CSS writes it.

    >>> rgba("#ff8000", 0.5)
    'rgba(255, 128, 0, 0.5)'
    """
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha:g})"


def group_colours(groups: Sequence[str]) -> list[str]:
    """The colour of each group of positions: fixed for known roles, in turn for others."""
    taken = {GROUP_COLOURS.get(group) for group in groups}
    free = [colour for colour in WORD_COLOURS if colour not in taken] or list(WORD_COLOURS)
    spare = iter(free * (1 + len(groups) // len(free)))
    return [GROUP_COLOURS.get(group) or next(spare) for group in groups]


def run_colours(n_runs: int) -> list[str]:
    """A colour for each run; the clean one, two interventions and a control come first."""
    return [*RUN_COLOURS, *(WORD_COLOURS * (1 + n_runs // len(WORD_COLOURS)))][:n_runs]


def template(dark: bool = False) -> go.layout.Template:
    """The figure template of this package; the paper is transparent, so it sits on any page."""
    ink, faint, card = ("#e6e8ee", "#8b93a5", "#1c2030") if dark else ("#1b2030", "#6b7280", "#ffffff")
    line = "rgba(148, 163, 184, 0.22)"
    axis = {
        "gridcolor": line,
        "linecolor": line,
        "zerolinecolor": line,
        "ticks": "",
        "automargin": True,
        "tickfont": {"color": faint, "size": 11},
        "title": {"font": {"color": faint, "size": 12}, "standoff": 8},
    }
    small = {"color": faint, "size": 11}
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "color": ink, "size": 12},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(WORD_COLOURS),
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {
                "bgcolor": card,
                "bordercolor": line,
                "align": "left",
                "namelength": -1,
                "font": {"family": FONT, "color": ink, "size": 12},
            },
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": faint, "activecolor": ink},
            "legend": {"font": {"color": ink, "size": 11}, "bgcolor": "rgba(0,0,0,0)"},
            "sliderdefaults": {
                "bgcolor": "rgba(99, 102, 241, 0.35)",
                "activebgcolor": "#6366f1",
                "bordercolor": line,
                "borderwidth": 0,
                "tickcolor": faint,
                "font": small,
                "ticklen": 4,
                "minorticklen": 3,
            },
            # plotly paints the active button nearly white in every theme: dark letters on light.
            "updatemenudefaults": {
                "bgcolor": "#d5d9ee",
                "bordercolor": line,
                "borderwidth": 1,
                "font": {"color": "#1b2030", "size": 11},
            },
            "coloraxis": {"colorbar": {"outlinewidth": 0, "tickfont": small}},
        },
        data={"heatmap": [{"colorbar": {"outlinewidth": 0, "tickfont": small}, "textfont": {"color": ink}}]},
    )
