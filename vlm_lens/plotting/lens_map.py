"""The logit lens over the picture: which word each patch says, layer by layer."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from vlm_lens.plotting.layer_slider import add_layer_slider
from vlm_lens.plotting.markup import escaped, token_markup
from vlm_lens.plotting.patch_picture import PatchPicture
from vlm_lens.plotting.theme import HEAT, template
from vlm_lens.plotting.top_tokens import TopTokens
from vlm_lens.plotting.word_colours import WordColours

WIDEST_GRID_WITH_WORDS = 16
"""Up to this many columns, the words are written into the patches."""


def lens_map(
    picture: PatchPicture,
    lens: TopTokens,
    streams: Sequence[str],
    *,
    targets: Mapping[str, Float[np.ndarray, "stream patch_row patch_col"]] | None = None,
    start: int | None = None,
    height: int = 560,
) -> go.Figure:
    """A map: the hue is the most probable token of each patch, the depth its probability.

    Args:
        picture: what lies under the map.
        lens: the best tokens, [stream patch_row patch_col rank].
        streams: the name of each residual stream, as the slider shows it.
        targets: for each word, its probability; buttons change between the top tokens and these.
        start: the stream shown first; by default the last.
        height: pixels.
    """
    assert lens.tokens.shape[:3] == (len(streams), picture.n_rows, picture.n_cols)
    start = len(streams) - 1 if start is None else start
    colours, hover = WordColours.of(lens), lens.hover()
    targets = dict(targets or {})
    where = "<br>patch row %{y}, column %{x} · after %{meta[0]}<extra></extra>"
    writes_words = picture.n_cols <= WIDEST_GRID_WITH_WORDS

    def changing(stream: int) -> list[dict[str, object]]:
        """What differs from stream to stream, for each trace."""
        words: dict[str, object] = {
            "z": colours.codes(lens[stream]),
            "customdata": hover[stream],
            "meta": [escaped(streams[stream])],
        }
        if writes_words:
            words["text"] = cell_words(lens[stream])
        maps: list[dict[str, object]] = [
            {"z": as_float32(z[stream]), "meta": [escaped(streams[stream]), token_markup(word)]}
            for word, z in targets.items()
        ]
        return [words, *maps]

    top_words = go.Heatmap(
        zmin=0,
        zmax=colours.n_codes,
        colorscale=colours.scale(),
        colorbar=colours.bar(),
        hovertemplate="%{customdata}" + where,
        texttemplate="%{text}" if writes_words else None,
        textfont={"size": 9, "color": "white", "shadow": "0 0 3px rgba(0,0,0,.9)"},
        xgap=picture.cell_gap,
        ygap=picture.cell_gap,
    )
    probabilities = [
        go.Heatmap(
            zmin=0,
            zmax=max(float(values.max()), 1e-6),
            colorscale=[list(stop) for stop in HEAT],
            colorbar={"thickness": 12, "len": 0.9, "tickformat": ".2~p", "nticks": 5},
            visible=False,
            hovertemplate="<b>%{meta[1]}</b> %{z:.2%}" + where,
            xgap=picture.cell_gap,
            ygap=picture.cell_gap,
        )
        for values in targets.values()
    ]
    figure = go.Figure([top_words, *probabilities])
    picture.lay_under(figure)
    frames = [changing(stream) for stream in range(len(streams))]
    add_layer_slider(figure, frames, streams, start=start, prefix="residual stream after ")
    top = 44 if targets else 8
    figure.update_layout(template=template(), height=height, margin={"l": 4, "r": 4, "t": top, "b": 4})
    if targets:
        figure.update_layout(updatemenus=[choice_of_trace(["top word", *targets])])
    return figure


def as_float32(values: Float[np.ndarray, "*place"]) -> Float[np.ndarray, "*place"]:
    """Single precision: half the size in a page, more than enough for a colour."""
    return values.astype(np.float32)


def cell_words(lens: TopTokens) -> np.ndarray:
    """What is written into the patches: the top token where it is likely and short enough."""

    def written(token: str, probability: float) -> str:
        text = str(token).strip()
        return token_markup(text) if probability >= 0.3 and 0 < len(text) <= 7 else ""

    return np.vectorize(written, otypes=[object])(lens.tokens[..., 0], lens.probabilities[..., 0].astype(float))


def choice_of_trace(names: Sequence[str]) -> dict[str, object]:
    """Buttons of which each shows one trace and hides the others."""
    buttons = [
        {
            "label": token_markup(name) if index else name,
            "method": "restyle",
            "args": [{"visible": [other == index for other in range(len(names))]}],
        }
        for index, name in enumerate(names)
    ]
    return {
        "type": "buttons",
        "direction": "right",
        "buttons": buttons,
        "x": 0,
        "xanchor": "left",
        "y": 1,
        "yanchor": "bottom",
        "pad": {"b": 8},
        "showactive": True,
    }
