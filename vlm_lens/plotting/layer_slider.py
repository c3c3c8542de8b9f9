"""A slider over layers: one frame a layer, the same for every map over the picture."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from vlm_lens.plotting.markup import escaped


def add_layer_slider(
    figure: go.Figure,
    frames: Sequence[Sequence[Mapping[str, object]]],
    layers: Sequence[str],
    *,
    start: int,
    prefix: str,
) -> go.Figure:
    """Gives `figure` a slider that writes `frames[i]` into its first traces at layer i.

    Args:
        figure: its first traces are heat maps, which need not hold values yet.
        frames: for each layer and trace, only what differs from layer to layer.
        layers: the name of each layer, as the slider shows it.
        start: the layer shown first.
        prefix: what stands before the layer's name.
    """
    assert len(frames) == len(layers) == len(set(layers)) and 0 <= start < len(layers)
    names = [escaped(layer) for layer in layers]
    for trace, values in zip(figure.data, frames[start], strict=False):
        trace.update(values)
    figure.frames = [
        go.Frame(
            name=name,
            data=[go.Heatmap(**values) for values in traces],
            traces=list(range(len(traces))),
        )
        for name, traces in zip(names, frames, strict=True)
    ]
    at_once = {
        "mode": "immediate",
        "frame": {"duration": 0, "redraw": True},
        "transition": {"duration": 0},
    }
    steps = [{"label": name, "method": "animate", "args": [[name], at_once]} for name in names]
    slider = {
        "active": start,
        "steps": steps,
        "x": 0.02,
        "len": 0.96,
        "y": 0,
        "yanchor": "top",
        "pad": {"t": 20, "b": 4},
        "currentvalue": {"prefix": prefix, "xanchor": "left", "offset": 8},
    }
    figure.update_layout(sliders=[slider])
    return figure
