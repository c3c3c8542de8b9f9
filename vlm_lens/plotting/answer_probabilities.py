"""The answer's first token in several runs: clean, under an intervention, under a control."""

from collections.abc import Mapping

import plotly.graph_objects as go

from vlm_lens.plotting.markup import escaped, token_markup
from vlm_lens.plotting.theme import run_colours, template
from vlm_lens.plotting.top_tokens import escaped_percent


def answer_probabilities(runs: Mapping[str, Mapping[str, float]], *, height: int = 360) -> go.Figure:
    """For each token, one bar a run: its probability there.

    Args:
        runs: for each run, the clean one first, the probability of the same tokens.
        height: pixels.
    """
    first = next(iter(runs.values()))
    assert all(values.keys() == first.keys() for values in runs.values()), runs
    tokens = sorted(first, key=lambda token: max(values[token] for values in runs.values()))
    names = [token_markup(token) for token in tokens]
    bars = [
        go.Bar(
            y=list(range(len(tokens))),
            x=[values[token] for token in tokens],
            name=escaped(label),
            orientation="h",
            marker={"color": colour, "line": {"width": 0}},
            customdata=names,
            text=[escaped_percent(values[token]) for token in tokens],
            textposition="outside",
            cliponaxis=False,
            textfont={"size": 10},
            hovertemplate="<b>%{customdata}</b> %{fullData.name}: %{x:.2%}<extra></extra>",
        )
        for (label, values), colour in zip(runs.items(), run_colours(len(runs)), strict=True)
    ]
    figure = go.Figure(bars[::-1])  # plotly stacks groups upwards: the clean run shall stand on top
    figure.update_layout(
        template=template(),
        height=height,
        barmode="group",
        bargap=0.3,
        bargroupgap=0.08,
        margin={"l": 8, "r": 44, "t": 8, "b": 8},
        legend={
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "x": 0,
            "traceorder": "reversed",
        },
    )
    figure.update_xaxes(
        range=[0, 1.02],
        tickformat=".0%",
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        title_text="probability",
    )
    figure.update_yaxes(
        tickvals=list(range(len(tokens))), ticktext=names, showgrid=False, tickfont={"size": 13}, ticklabelstandoff=6
    )
    return figure
