"""Table 2: mean intersection over union of each method, by layer and by label."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.claims import above_zero, all_hold
from vlm_lens.experiments.part_segmentation.mean_iou import counts_of, mean_iou, mean_iou_over_pictures
from vlm_lens.experiments.part_segmentation.predictions import CHANCE, LENS, MAJORITY, SEGMENTER, SHUFFLED
from vlm_lens.experiments.summary import Finding, Summary, Table, figures_of, laid_out
from vlm_lens.metrics.intervals import Estimate, mean_over_pictures
from vlm_lens.plotting.overlap_by_layer import overlap_by_label, overlap_by_layer

HELD_OUT, LAST = "held out", "last"
NAMES = {
    SEGMENTER: "{segmenter} (baseline)", LENS: "{model}", SHUFFLED: "{model}, patches shuffled",
    CHANCE: "a label by chance", MAJORITY: "the best label for each patch",
}  # fmt: skip
"""The rows of the table, the paper's first."""


def summarised(rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
    """Table 2, the overlap by layer and by label, and the paper's claims."""
    pictures = rows["pictures"]
    if "counts" not in rows or rows["counts"].empty:
        n_blank = int((pictures["n_labels"] == 0).sum())
        got = f"none of {len(pictures)} pictures, {n_blank} of them without a label that is a whole token"
        advice = "Set split_labels='first piece', or pad_to_square=true."
        raise InputError("Pixels of parts that the model saw", "at least one", got, advice)
    counts = rows["counts"]
    examples = list(dict.fromkeys(counts["example"]))
    states = state_of_each(counts, examples, options.layer, facts["n_layers"])
    labels = sorted(counts.loc[counts["annotated"] > 0, "label"].unique())
    by_method = {
        method: counts_of(_at(counts, method, states), examples, labels)
        for method in NAMES if method in set(counts["method"])
    }  # fmt: skip
    estimates = {method: mean_iou_over_pictures(one) for method, one in by_method.items()}
    names = {method: _name(method, options, facts) for method in by_method}
    tidy = pd.DataFrame([{"model": names[m], "measure": "mIoU", **figures_of(one)} for m, one in estimates.items()])
    by_layer, by_label = _by_layer(counts, examples, labels), _by_label(by_method, labels)
    told = f"N = {len(examples)} of {len(pictures)} pictures, {len(labels)} labels"
    return Summary(
        {
            "table 2": Table(
                tidy, laid_out(tidy, "model", "measure", digits=2, scale=100.0),
                f"Mean intersection over union of parts, per cent, with intervals over pictures. {told}.",
            ),
            "by layer": Table(
                by_layer, laid_out(by_layer, "method", "layer", digits=2, scale=100.0),
                f"The same for what patches say after each layer (0: what enters the decoder), per cent. {told}.",
            ),
            "by label": Table(
                by_label, laid_out(by_label, "label", "method", digits=2, scale=100.0, intervals=False),
                "Intersection over union of each label, per cent; n counts the pictures that show it or are said to. "
                f"{told}.",
            ),
        },
        {
            "by layer": partial(overlap_by_layer, by_layer, tidy[~tidy["model"].isin([names[LENS], names[SHUFFLED]])]),
            "by label": partial(overlap_by_label, by_label, [LENS, CHANCE]),
        },
        _findings(by_method, estimates),
        _notes(pictures, states, options, facts),
    )  # fmt: skip


def state_of_each(counts: pd.DataFrame, examples: list[str], layer: str | int, n_layers: int) -> dict[str, int]:
    """For each picture the state that it is read at.

    Held out: the pictures are halved by turns, and each half is read at the state that is best on the other one, so
    that no picture chooses for itself. The lower of equal states is taken.

    Args:
        counts: the rows of all methods.
        examples: the pictures.
        layer: the option.
        n_layers: of the decoder.

    Raises:
        InputError: a layer that does not exist.
    """
    if layer == HELD_OUT:
        halves = [examples[::2], examples[1::2] or examples[::2]]
        best = [_best_state(counts, half) for half in halves]
        return {one: best[1 - place % 2] for place, one in enumerate(examples)}
    number = n_layers if layer == LAST else layer
    if not isinstance(number, int) or not 0 <= number <= n_layers:
        raise InputError("Option 'layer'", f"{HELD_OUT!r}, {LAST!r} or a number from 0 to {n_layers}", repr(layer))
    return dict.fromkeys(examples, number)


def _best_state(counts: pd.DataFrame, examples: list[str]) -> int:
    own = counts[(counts["method"] == LENS) & counts["example"].isin(examples)]
    labels = sorted(own.loc[own["annotated"] > 0, "label"].unique())
    figures = {
        int(state): float(mean_iou(counts_of(group, examples, labels).sum(axis=0)))
        for state, group in own.groupby("state")
    }  # fmt: skip
    return max(figures, key=lambda state: (figures[state], -state))


def _at(counts: pd.DataFrame, method: str, states: Mapping[str, int]) -> pd.DataFrame:
    own = counts[counts["method"] == method]
    return own[own["state"] == own["example"].map(states)] if method in (LENS, SHUFFLED) else own


def _by_layer(counts: pd.DataFrame, examples: list[str], labels: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"method": method, "layer": int(state),
             **figures_of(mean_iou_over_pictures(counts_of(group, examples, labels)))}
            for (method, state), group in counts.dropna(subset=["state"]).groupby(["method", "state"], sort=False)
        ]
    )  # fmt: skip


def _by_label(by_method: Mapping[str, np.ndarray], labels: list[str]) -> pd.DataFrame:
    found = []
    for place, label in enumerate(labels):
        for method, one in by_method.items():
            intersection, annotated, predicted = one[..., place].T
            union = annotated + predicted - intersection
            estimate = mean_over_pictures(intersection, union, is_binary=False)
            found.append({"label": label, "method": method, **figures_of(estimate)})
    return pd.DataFrame(found)


def _name(method: str, options: Any, facts: Mapping[str, Any]) -> str:
    segmenter = "CLIPSeg" if options.segmenter.startswith("clipseg") else options.segmenter
    return NAMES[method].format(model=facts["model"], segmenter=segmenter)


def _findings(by_method: Mapping[str, np.ndarray], estimates: Mapping[str, Estimate]) -> tuple[Finding, ...]:
    beyond = mean_iou_over_pictures(by_method[LENS], by_method[CHANCE])
    moved = mean_iou_over_pictures(by_method[LENS], by_method[SHUFFLED])
    findings = [
        Finding(
            "What patches say segments parts better than chance does (appendix E: 'better-than-random').",
            all_hold(above_zero(beyond), above_zero(moved)),
            f"{_told(beyond)} against a label by chance, {_told(moved)} against the same labels shuffled over the "
            f"picture; N = {beyond.n}.",
        )
    ]
    if SEGMENTER in by_method:
        behind = mean_iou_over_pictures(by_method[LENS], by_method[SEGMENTER])
        claim = "It falls behind a text-prompted segmenter (table 2: 14.66 against 22.31)."
        findings.append(
            Finding(claim, True if behind.high < 0 else False if behind.low > 0 else None, f"{_told(behind)}.")
        )
    best = estimates[MAJORITY]
    findings.append(
        Finding(
            "The gap comes from patches that are larger than parts (appendix E: 'the mismatch between patch-level "
            "predictions and pixel-level evaluation').",
            None,
            f"The best label for each patch would reach {100 * best.value:.1f}, the words reach "
            f"{100 * estimates[LENS].value:.1f}: patches cost {100 * (1 - best.value):.1f} points, words "
            f"{100 * (best.value - estimates[LENS].value):.1f}.",
        )
    )
    return tuple(findings)


def _told(one: Estimate) -> str:
    interval = "" if np.isnan(one.low) else f" [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
    return f"{100 * one.value:+.1f} points{interval}"


def _notes(
    pictures: pd.DataFrame, states: Mapping[str, int], options: Any, facts: Mapping[str, Any]
) -> tuple[str, ...]:
    read = pd.Series(states).value_counts().sort_index()
    blank = pictures[pictures["n_pixels"] == 0]
    what = {"image": "the parts of the classes in the picture", "all": "the parts of every class"}[options.candidates]
    notes = [
        f"A patch has the most probable of {what}; where several classes have that part, that of the most probable "
        "class. The label stands for all pixels whose middle lies in the patch.",
        "Pixels without a part " + ("are void." if options.background == "void" else "count against what is said."),
        f"Pixels of parts that the model never saw are void: {100 * pictures['share_unseen'].mean():.1f}% a picture.",
        "State "
        + ", ".join(f"{state} in {n} pictures" for state, n in read.items())
        + f" (option layer: {options.layer}).",
    ]
    if len(blank):
        notes.append(f"{len(blank)} of {len(pictures)} pictures have no such pixel and count nowhere.")
    if options.segmenter == "none":
        notes.append("No text-prompted segmenter was run (--set segmenter=clipseg:FOLDER).")
    stands = "its first piece stands for it" if options.split_labels == "first piece" else "left out with its pixels"
    notes += [f"{word!r} is no whole token, but {pieces}: {stands}." for word, pieces in facts["split"].items()]
    if facts["split_classes"]:
        told = "; ".join(f"{word!r} {pieces}" for word, pieces in facts["split_classes"].items())
        lot = "their first pieces choose" if options.split_labels == "first piece" else "they are never preferred"
        notes.append(
            f"Classes that are no whole token, where one of several with the same part is chosen: {told}; {lot}."
        )
    return tuple(notes)
