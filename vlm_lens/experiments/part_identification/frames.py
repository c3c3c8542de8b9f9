"""The rows of a run as frames that tables are made of: joined, averaged, with all classes as one more class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.object_parts.knockouts import NONE
from vlm_lens.experiments.over_pictures import differences, means

ALL = "all"
REGION = ["example", "category", "part"]


def joined(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each region, setting and state, with the region's size. The class is in `category`.

    Raises:
        InputError: nothing was read, with what took it.
    """
    if "scores" not in rows or rows["scores"]["score"].isna().all():
        targets, regions = rows["targets"], rows.get("regions", pd.DataFrame())
        n_named = int(targets["is_named_while_hidden"].sum())
        got = f"{len(targets)} objects, {n_named} named by a caption while hidden; {len(regions)} parts, none readable"
        advice = "Set filters_captions=false, or split_labels='first piece' where no label is a whole token."
        raise InputError("Parts that can be read", "at least one", got, advice)
    scores, regions = (rows[name].rename(columns={"class": "category"}) for name in ("scores", "regions"))
    return scores.merge(regions, on=REGION, how="left", validate="many_to_one")


def in_order(classes: Sequence[str], frame: pd.DataFrame) -> pd.DataFrame:
    """The rows by `class`: those of each, in the order of the option, and then all of them once more as "all"."""
    parts = [frame[frame["category"] == name].assign(**{"class": name}) for name in classes]
    return pd.concat([*parts, frame.assign(**{"class": ALL})], ignore_index=True)


def weighed(frame: pd.DataFrame, by: Sequence[str], weighs: str, values: Sequence[str]) -> pd.DataFrame:
    """The rows themselves, or for each picture one with the mean of its regions."""
    if weighs == "regions":
        return frame
    keys = list(dict.fromkeys([*by, "example"]))
    return frame.groupby(keys, sort=False, as_index=False)[list(values)].mean()


def averages(frame: pd.DataFrame, value: str, by: Sequence[str], options: Any) -> pd.DataFrame:
    """Means with intervals over pictures."""
    return means(weighed(frame, by, options.weighs, [value]), value, list(by), is_binary=False)


def paired(frame: pd.DataFrame, value: str, baseline: str, by: Sequence[str], options: Any) -> pd.DataFrame:
    """Mean differences of two columns with intervals over pictures."""
    both = frame.dropna(subset=[value, baseline])
    return differences(weighed(both, by, options.weighs, [value, baseline]), value, list(by), baseline)


def check_layer(layer: str, n_layers: int) -> None:
    """Refuse a state that the decoder does not have.

    Raises:
        InputError: another word, or a state that does not exist.
    """
    if layer not in ("last", "best") and not (layer.isdigit() and int(layer) <= n_layers):
        raise InputError("Option 'layer'", f"'last', 'best' or 0 to {n_layers}", repr(layer))


def at_layer(frame: pd.DataFrame, layer: str, n_layers: int) -> tuple[pd.DataFrame, int]:
    """The rows of one state, and which it is.

    Args:
        frame: of all states.
        layer: "last", "best" (the highest mean without a knockout) or a number, 0 for what enters the decoder.
        n_layers: of the decoder.

    Raises:
        InputError: another word, or a state that does not exist.
    """
    check_layer(layer, n_layers)
    if layer == "best":
        clean = frame[frame["setting"] == NONE].groupby("layer")["score"].mean()
        number = int(clean.idxmax())
    else:
        number = n_layers if layer == "last" else int(layer)
    return frame[frame["layer"] == number], number


def beside(frame: pd.DataFrame, setting: str, baseline: str) -> pd.DataFrame:
    """The rows under a setting, each with what the same region scores under another: column `baseline`.

    Args:
        frame: at one state, by class.
        setting: whose rows.
        baseline: the other.
    """
    keys = ["class", *REGION]
    other = frame.loc[frame["setting"] == baseline, [*keys, "score"]].rename(columns={"score": "baseline"})
    return frame[frame["setting"] == setting].merge(other, on=keys, how="left", validate="one_to_one")


def size_bins(share: pd.Series, bins: str) -> tuple[pd.Series, list[str]]:
    """Four bins of part sizes, and what they are called: "0.03 to 0.2%".

    Args:
        share: of the picture, one a region.
        bins: "quartiles", or "equal" in the logarithm.
    """
    if bins == "quartiles":
        edges = np.quantile(share, [0, 0.25, 0.5, 0.75, 1])
    else:
        edges = np.geomspace(share.min(), share.max(), 5)
    number = np.searchsorted(edges[1:-1], share, side="right")
    names = [f"{low:.2%} to {high:.2%}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    return pd.Series(number, index=share.index), names
