"""The figures of a case, in the order in which a report shows them."""

from dataclasses import dataclass

import plotly.graph_objects as go

from vlm_lens.plotting import (
    answer_probabilities,
    attention_maps,
    attention_shares,
    lens_by_layer,
    lens_map,
    lens_strip,
    picture_grid,
)
from vlm_lens.report.data import CaseReport, KnockoutOutcome, Proof


@dataclass(frozen=True, eq=False)
class ReportFigure:
    """A figure with its title and how to read it.

    Attributes:
        key: names the figure within its case.
        figure: what is drawn.
        title: a short noun phrase.
        caption: one or two sentences: what is shown and how to read it.
        is_wide: whether it takes the full width of the page.
        proof: one line on what shows that it is so; "" where there is nothing to prove.
    """

    key: str
    figure: go.Figure
    title: str
    caption: str
    is_wide: bool = False
    proof: str = ""


def picture_figure(case: CaseReport) -> ReportFigure:
    """The picture, first in every case."""
    grid = case.picture
    caption = f"What the model saw: {grid.n_rows} × {grid.n_cols} = {grid.n_rows * grid.n_cols} patches"
    if grid.region is not None and grid.region.any():
        caption += f"; outlined, the {int(grid.region.sum())} patches of the object"
    return ReportFigure("picture", picture_grid(grid), "Picture and patches", f"{caption}.")


def measured_figures(case: CaseReport) -> list[ReportFigure]:
    """All other figures of a case."""
    return [
        ReportFigure(
            "lens",
            lens_map(case.picture, case.lens, case.streams, targets=case.targets),
            "Logit lens over the picture",
            "The residual stream of each patch, read as words through the model's own final norm "
            "and unembedding. Hue: the most probable token; depth: its probability. Slide through "
            "the layers; hover for the runners-up; the buttons show one word's probability.",
        ),
        ReportFigure(
            "attention",
            attention_maps(case.picture, case.attention, case.layers),
            "Where the answer looks",
            "Attention from the last position of the prompt, which predicts the answer, to each "
            "patch (mean over heads). Each layer has its own colour range; the one that looks "
            f"most at the {'object' if case.picture.region is not None else 'picture'} comes first.",
        ),
        ReportFigure(
            "shares",
            attention_shares(case.shares, case.groups, case.layers),
            "Begin-of-sequence, text, image",
            "How the last position of the prompt splits its attention (mean over heads). Every layer sums to 100%.",
        ),
        ReportFigure(
            "knockout",
            knockout_figure(case.knockout),
            f"The answer without the {'image' if case.knockout.is_whole_image else 'object'}",
            knockout_caption(case.knockout),
            proof=proof_line(case.knockout.proof),
        ),
        ReportFigure(
            "strip",
            lens_strip(case.picture, case.lens, case.streams),
            "From patches to words",
            "The same lens at a glance, from the embedding to the last layer, in the same hues.",
            is_wide=True,
        ),
        ReportFigure(
            "last",
            lens_by_layer(case.last_lens, case.streams),
            "How the answer forms",
            "The logit lens at the last position: the best tokens after each layer, best on top. Shade: probability.",
            is_wide=True,
        ),
    ]


def knockout_figure(knockout: KnockoutOutcome) -> go.Figure:
    """Bars for the clean run, both cuts, and the control where there is one."""
    runs = {
        "clean": knockout.clean,
        "cut from the answer": knockout.from_answer.probabilities,
        "cut from all text": knockout.from_text.probabilities,
    }
    if knockout.control is not None:
        runs["control"] = knockout.control
    return answer_probabilities(runs)


def knockout_caption(knockout: KnockoutOutcome) -> str:
    """Which edges were cut where, and what the control is."""
    if knockout.is_whole_image:
        what = f"all {knockout.n_patches} patches (no object was marked, so the whole image is blocked)"
    else:
        what = f"the {knockout.n_patches} patches of the object, grown by {knockout.dilation}"
    caption = (
        f"Probability of the answer's first token with attention to {what} blocked before the softmax in "
        f"{window(knockout.layers, knockout.n_layers)}: from the positions that predict the answer alone, or "
        "from every position after the picture, so that the question cannot pass on what it saw."
    )
    if knockout.control is not None:
        caption += (
            " Control: as many random other patches, blocked from every position after the picture, mean of "
            f"{knockout.n_draws} draws."
        )
    return caption


def proof_line(proof: Proof) -> str:
    """What `run.verify()` has checked, in one line."""
    counts = ((proof.n_layers, "layer"), (proof.n_heads, "head"), (proof.n_steps, "step"))
    where = " × ".join(f"{n} {unit if n == 1 else f'{unit}s'}" for n, unit in counts)
    return (
        f"run.verify(), cut from all text: {proof.n_checks} checks hold; {proof.n_edges:,} edges were blocked and no "
        f"other, over {where}."
    )


def window(layers: tuple[int, ...], n_layers: int) -> str:
    """A window of layers in words.

    >>> window((0, 1, 2), 3), window((1, 2), 5), window((0, 2), 5), window((4,), 5)
    ('all 3 layers', 'layers 1 to 2 of 0 to 4', 'layers 0, 2 of 0 to 4', 'layer 4 of 0 to 4')
    """
    if len(layers) == n_layers:
        return f"all {n_layers} layers"
    of = f"of 0 to {n_layers - 1}"
    if len(layers) == 1:
        return f"layer {layers[0]} {of}"
    if layers == tuple(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]} to {layers[-1]} {of}"
    return f"layers {', '.join(map(str, layers))} {of}"
