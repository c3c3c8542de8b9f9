"""Figures 6, 8 and 9, made of the rows."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.part_identification.frames import ALL, REGION, averages, in_order, size_bins
from vlm_lens.experiments.part_identification.tables import by_class
from vlm_lens.experiments.part_identification_clip import panels
from vlm_lens.experiments.part_identification_clip.beside import Beside, read_beside
from vlm_lens.experiments.part_identification_clip.findings import findings
from vlm_lens.experiments.part_identification_clip.notes import notes
from vlm_lens.experiments.summary import Summary, Table, laid_out

PAPER_FIRST, PAPER_DEPTH = 22, 24
WHOLE = "CLIP"
COLUMNS = {"part": "score", "object": "object_score", "part elsewhere": "null", "object elsewhere": "object_null"}


def summarised(rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
    """CLIP, and CLIP held to the part, by class; every layer; part sizes.

    Raises:
        InputError: nothing was read.
    """
    frame = in_order(options.classes, _joined(rows))
    depth = facts["n_layers"]
    first = chosen_layer(frame, options.from_layer, depth)
    beside = read_beside(options.beside)
    everything = frame[frame["class"] == ALL]
    n_regions = len(everything[everything["from_layer"] == first])
    n = f"N = {frame['example'].nunique()} pictures, {n_regions} part regions; {facts['n_candidates']} candidates"
    told = f"Held to the part from layer {first} of {depth} on; {n}"
    main = _main(frame, options, depth, first, beside)
    by_layer = _by_layer(frame, options, depth)
    sizes = _sizes(everything[everything["from_layer"] == first], options)
    tables = {
        "part and object": Table(
            main, _laid(main), f"Identifiability by CLIP's words, of the whole picture and of the part alone. {told}."
        ),
        "layers": Table(
            by_layer, laid_out(by_layer, "class", "from_layer", digits=2),
            f"Identifiability of parts by the layer from which the class token is held to them ({depth}: none). {n}.",
        ),
        "sizes": Table(
            sizes, laid_out(sizes, "size", "what", digits=3),
            f"Identifiability by the share of the picture that a part has. {told}.",
        ),
    }  # fmt: skip
    held = frame[frame["from_layer"] == first]
    figures = {
        "part and object": partial(panels.bars, main),
        "layers": partial(panels.by_layer, frame, options, depth),
        "sizes": partial(panels.by_size, held, beside, options),
    }
    return Summary(tables, figures, findings(frame, first, depth, beside, options), notes(rows, options, facts, first))


def check_first(from_layer: str, depth: int) -> None:
    """Refuse a layer that the tower does not have.

    Raises:
        InputError: another word, or a layer that does not exist.
    """
    if from_layer not in ("paper", "best") and not (from_layer.isdigit() and int(from_layer) < depth):
        raise InputError("Option 'from_layer'", f"'paper', 'best' or 0 to {depth - 1}", repr(from_layer))


def chosen_layer(frame: pd.DataFrame, from_layer: str, depth: int) -> int:
    """The layer from which the class token is held to the part, in tables and bars.

    Args:
        frame: of all layers.
        from_layer: "paper" (22 of 24, or its share of the depth), "best" (the highest mean), or a number.
        depth: of the tower.

    Raises:
        InputError: another word, or a layer that does not exist.
    """
    check_first(from_layer, depth)
    if from_layer == "paper":
        return min(depth - 1, int(PAPER_FIRST / PAPER_DEPTH * depth))
    if from_layer == "best":
        held = frame[(frame["class"] == ALL) & (frame["from_layer"] < depth)]
        return int(held.groupby("from_layer")["score"].mean().idxmax())
    return int(from_layer)


def _joined(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    if "scores" not in rows:
        advice = "Set split_labels='first piece', or candidates='tokens'."
        got = f"{len(rows.get('regions', ()))} parts, none readable"
        raise InputError("Parts that CLIP can be asked for", "at least one", got, advice)
    scores, regions = (rows[name].rename(columns={"class": "category"}) for name in ("scores", "regions"))
    return scores.merge(regions, on=REGION, how="left", validate="many_to_one")


def _main(frame: pd.DataFrame, options: Any, depth: int, first: int, beside: Beside | None) -> pd.DataFrame:
    """Figure 6, with what a shape elsewhere says, and the language model's figures where there is a run."""
    pieces = []
    for name, layer in ((WHOLE, depth), (f"{WHOLE}, layer {first}", first)):
        rows = frame[frame["from_layer"] == layer]
        for what, column in COLUMNS.items():
            if layer == depth and "elsewhere" in what:
                continue  # the class token sees the whole picture wherever the part lies
            found = averages(rows, column, ["class"], options)
            pieces.append(found.assign(model=name, what=what))
    tidy = pd.concat(pieces, ignore_index=True)
    if beside is not None:
        tidy = pd.concat([tidy, beside.identifiability], ignore_index=True)
    return by_class(tidy[["class", "model", "what", "value", "low", "high", "n"]], options)


def _laid(main: pd.DataFrame) -> pd.DataFrame:
    """Classes down; for each model the part, the object, and both elsewhere."""
    layout = laid_out(main, "class", ["model", "what"], digits=2)
    order = [
        (model, what)
        for model in dict.fromkeys(main["model"])
        for what in COLUMNS
        if ((main["model"] == model) & (main["what"] == what)).any()
    ]
    return layout[order]


def _by_layer(frame: pd.DataFrame, options: Any, depth: int) -> pd.DataFrame:
    """Figure 9: from no layer at all to all of them."""
    tidy = averages(frame, "score", ["class", "from_layer"], options)
    return by_class(tidy.sort_values("from_layer", ascending=False, kind="stable"), options)


def _sizes(rows: pd.DataFrame, options: Any) -> pd.DataFrame:
    number, names = size_bins(rows["share"], options.bins)
    rows = rows.assign(size=number).sort_values("size", kind="stable")
    columns = {"score": "score", "elsewhere in the picture": "null", "random logits": "chance", "patches": "n_patches"}
    tidy = pd.concat(
        [averages(rows, column, ["size"], options).assign(what=name) for name, column in columns.items()],
        ignore_index=True,
    )
    return tidy.assign(size=[names[one] for one in tidy["size"]])
