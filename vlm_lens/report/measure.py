"""Fills a `CaseReport`: everything that a report shows of one picture and one question."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import numpy as np
from jaxtyping import Float

from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import ImageLike, Inputs
from vlm_lens.plotting import TopTokens
from vlm_lens.plotting.seen_picture import patch_picture
from vlm_lens.probes import AttentionFlow, FlowReading
from vlm_lens.report.data import CaseReport, PromptPiece
from vlm_lens.report.knockout import Knockout, checked_layers, generated_text
from vlm_lens.report.reading import Reading, lens_probabilities, read_run
from vlm_lens.report.token_names import top_tokens, word_ids


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

    on_step("reading")
    flow = AttentionFlow("last", {} if region is None else {"image: object": region}, rest="roles")
    with vlm.attach(flow) as attached:
        reading = read_run(vlm, inputs, [*span.patch_positions, *layout.positions("last")])
    probabilities = reading.logits.softmax(dim=-1)
    next_tokens = top_tokens(vlm, probabilities, top_k)
    lens, targets = lens_of(vlm, reading, word_ids(vlm, words, int(probabilities.argmax())), top_k)
    grid = span.grid.shape
    groups, shares = shares_of(attached[flow])

    on_step("answering")
    text = generated_text(vlm, inputs, max_new_tokens)
    on_step("knocking out")
    knockout = Knockout(vlm, inputs, cut, cut_layers, max_new_tokens)
    outcome = knockout.outcome(probabilities, is_whole_image=region is None, dilation=0 if region is None else dilation)
    layer_names = tuple(str(layer) for layer in range(vlm.cfg.n_layers))
    return CaseReport(
        title=title,
        prompt=prompt,
        pieces=prompt_pieces(inputs),
        picture=patch_picture(span, inputs.images[0], region),
        answer=text,
        next_tokens=next_tokens,
        streams=("embed", *layer_names),
        lens=TopTokens(
            lens.tokens[:, :-1].reshape(-1, *grid, lens.n_ranks),
            lens.probabilities[:, :-1].reshape(-1, *grid, lens.n_ranks),
        ),
        targets={name: values[:, :-1].reshape(-1, *grid) for name, values in targets.items()},
        last_lens=lens[:, -1],
        layers=layer_names,
        groups=groups,
        shares=shares,
        attention=attached[flow].map().values.double().numpy(),
        knockout=outcome,
    )


def lens_of(
    vlm: HookedVLM, reading: Reading, target_ids: Mapping[str, int], top_k: int
) -> tuple[TopTokens, dict[str, Float[np.ndarray, "stream pos"]]]:
    """The logit lens of every stream, one stream at a time: the best tokens, and the targets' probabilities."""
    best, values = [], []
    ids = list(target_ids.values())
    for stream in reading.streams:
        probabilities = lens_probabilities(vlm, stream)
        best.append(top_tokens(vlm, probabilities, top_k))
        values.append(probabilities[:, ids].double().numpy())
    lens = TopTokens(np.stack([one.tokens for one in best]), np.stack([one.probabilities for one in best]))
    stacked = np.stack(values)
    return lens, {name: stacked[:, :, index] for index, name in enumerate(target_ids)}


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
