"""Where a part's attention goes, as a table, and figure 3."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.object_parts.knockouts import NONE
from vlm_lens.experiments.over_pictures import means
from vlm_lens.experiments.summary import Finding, Summary, Table, laid_out
from vlm_lens.plotting.knockout_maps import knockout_maps

CUT = "other patches"


def summarised(rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
    """The table of shares, a figure for the example that is shown, and whether the knockout holds.

    Raises:
        InputError: no part covers a patch, or the example that is to be shown has none.
    """
    if "shares" not in rows:
        advice = "Lower the option threshold, or take part=largest."
        raise InputError("Parts that cover some patches and not all", "at least one", "none", advice)
    shares = rows["shares"].sort_values(["tower", "layer"], kind="stable")
    tidy = means(shares, "share", ["tower", "layer", "setting", "to"], is_binary=False)
    tidy = tidy.assign(is_cut=tidy["setting"] != NONE).sort_values(["tower", "layer", "is_cut"], kind="stable")
    tidy = tidy.drop(columns="is_cut")
    n_parts = len(rows["shares"][["example", "class", "part"]].drop_duplicates())
    told = f"N = {shares['example'].nunique()} pictures, {n_parts} parts; means over the part's patches and over heads."
    layers = "; ".join(f"{tower} {', '.join(map(str, read))}" for tower, read in facts["layers"].items())
    return Summary(
        {"shares": Table(tidy, laid_out(tidy, ["tower", "layer", "setting"], "to"), f"Shares of attention. {told}")},
        {"maps": partial(_figure, rows, options.shown)},
        (_holds(shares),),
        (
            *facts["steps"],
            f"Layers, counted from 0: {layers}. In the decoder a patch sees only those before it.",
            "The knockout is that of part-identification, "
            f"{'with' if options.keeps_class_token else 'without'} the class token.",
        ),
    )


def _holds(shares: pd.DataFrame) -> Finding:
    """The knockouts leave no attention at all to what they cut off."""
    cut = shares[(shares["setting"] != NONE) & (shares["to"] == CUT)]
    whole = shares[(shares["setting"] == NONE) & (shares["to"] == CUT)]
    most = float(cut["share"].max())
    return Finding(
        "Under the knockout a part's patches see themselves and no other patch (section 4.3, figure 3).",
        most == 0,
        f"The largest share left to other patches is {most:g}, over {len(cut)} maps; without the knockout they have "
        f"{whole['share'].mean():.3f} on average.",
    )


def _figure(rows: Mapping[str, pd.DataFrame], shown: str) -> Any:
    patches, maps = rows["patches"], rows["maps"]
    example = shown or patches["example"].iloc[0]
    patches, maps = patches[patches["example"] == example], maps[maps["example"] == example]
    if patches.empty:
        known = ", ".join(rows["patches"]["example"].unique()[:6])
        raise InputError("Option 'shown'", f"an example that was read: {known} ...", repr(shown))
    key = patches[["class", "part"]].iloc[0]
    patches, maps = (
        table[(table["class"] == key["class"]) & (table["part"] == key["part"])] for table in (patches, maps)
    )
    return knockout_maps(maps, patches, title=f"{key['part']} of a {key['class']}, example {example}")
