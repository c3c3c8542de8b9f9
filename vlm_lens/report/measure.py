"""Fills a `CaseReport`: everything that a report shows of one picture and one question."""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from jaxtyping import Float

from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import ImageLike, Inputs
from vlm_lens.plotting.seen_picture import patch_picture
from vlm_lens.probes import AttentionFlow, FlowReading, LogitLens
from vlm_lens.report.data import CaseReport, PromptPiece
from vlm_lens.report.knockout import Knockout, checked_layers, probabilities_of
from vlm_lens.report.token_names import top_tokens


def measure_case(
    vlm: HookedVLM,
    image: ImageLike,
    prompt: str,
    *,
    title: str,
    mask: object | None = None,
    words: Sequence[str] = (),
    layers: Sequence[int] | None = None,
    dilation: int = 1,
    top_k: int = 5,
    max_new_tokens: int = 60,
    template: str | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> CaseReport:
    """Runs the model on a picture and a question, clean and with the object's patches cut off.

    Args:
        vlm: the model.
        image: a PIL image, path or array.
        prompt: a question, or a literal prompt with `<image>` in it.
        title: what the case is called.
        mask: the object's pixels in the original picture; None blocks the whole image instead.
        words: single tokens whose lens probability gets a map of its own, beside the answer's.
        layers: where attention is cut; None cuts in every layer.
        dilation: by how many patches the object's region grows before it is cut.
        top_k: how many tokens each lens keeps.
        max_new_tokens: the longest answer.
        template: see `HookedVLM.prepare`.
        on_step: is told what comes next.

    Raises:
        InputError: a picture, prompt, mask, word or layer that the model cannot take.
    """
    cut_layers = checked_layers(layers, vlm.cfg.n_layers)
    on_step("preparing")
    inputs = vlm.prepare(image, prompt, template=template)
    layout = inputs.layout
    span = layout.image_span()
    region = None if mask is None else layout.region(mask)
    cut = layout.patches() if region is None else region.dilate(dilation)
    word_ids = [vlm.to_single_token(" " + word.strip()) for word in words]  # as they stand inside a sentence

    on_step("answering")
    answer = vlm.generate(inputs, max_new_tokens=max_new_tokens)
    probabilities = probabilities_of(answer.logits[0, 0])

    on_step("reading")
    targets = list(dict.fromkeys([int(probabilities.argmax()), *word_ids]))
    lens = LogitLens(top_k, targets, positions=["image", "last"])
    flow = AttentionFlow("last", {} if region is None else {"image: object": region}, rest="roles")
    run = vlm.run(inputs, lens, flow, only_last=True)
    read, looks = run[lens], run[flow]
    groups, shares = shares_of(looks)

    on_step("knocking out")
    knockout = Knockout(vlm, inputs, cut, cut_layers, max_new_tokens)
    outcome = knockout.outcome(probabilities, is_whole_image=region is None, dilation=0 if region is None else dilation)
    layer_names = tuple(str(layer) for layer in range(vlm.cfg.n_layers))
    return CaseReport(
        title=title,
        prompt=prompt,
        pieces=prompt_pieces(inputs),
        picture=patch_picture(span, inputs.images[0], region),
        answer=answer.text,
        next_tokens=top_tokens(vlm, probabilities, top_k),
        streams=read.states,
        lens=read.top_patches(),
        targets={name: read.patches("probability", name) for name in read.targets},
        last_lens=read.top[:, list(read.positions).index(*layout.positions("last"))],
        layers=layer_names,
        groups=groups,
        shares=shares,
        attention=looks.map().values.double().numpy(),
        knockout=outcome,
    )


def shares_of(looks: FlowReading) -> tuple[tuple[str, ...], Float[np.ndarray, "layer group"]]:
    """The groups that occur, those of the picture last, and what each gets of the last position's attention."""
    order = sorted(range(len(looks.groups)), key=lambda group: looks.groups[group].startswith("image"))
    return tuple(looks.groups[group] for group in order), looks.shares[:, 0, 0, order].double().numpy()


def prompt_pieces(inputs: Inputs) -> tuple[PromptPiece, ...]:
    """The prompt's tokens, neighbours of one role together."""
    layout = inputs.layout
    tokens = zip(layout.roles(), layout.str_tokens(), strict=True)
    runs = [(role, [text for _, text in run]) for role, run in groupby(tokens, key=lambda token: token[0])]
    return tuple(
        PromptPiece(role, "" if role == "image" else "".join(texts), len(texts))
        for role, texts in runs
        if role != "pad"
    )
