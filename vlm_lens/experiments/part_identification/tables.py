"""The tables: part and object, settings, differences, nulls, sizes, layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlm_lens.experiments.object_parts.knockouts import ENCODER, FULL, NONE, SETTINGS
from vlm_lens.experiments.part_identification.frames import ALL, averages, beside, paired, size_bins
from vlm_lens.experiments.summary import Table, laid_out

COLUMNS = {"part": "score", "object": "object_score", "part elsewhere": "null", "object elsewhere": "object_null"}


def settings_of(here: pd.DataFrame, facts: Mapping[str, Any]) -> list[str]:
    """The settings that were run: the paper's four, then the last layers of the vision tower."""
    ran = set(here["setting"])
    return [one for one in (*SETTINGS, *facts["last"]) if one in ran]


def tables(here: pd.DataFrame, options: Any, facts: Mapping[str, Any], told: str) -> dict[str, Table]:
    """All tables at one state.

    Args:
        here: the rows of that state, by class.
        options: `PartIdentificationOptions`.
        facts: of the model.
        told: which state, and N.
    """
    settings = settings_of(here, facts)
    clean = here[here["setting"] == NONE]
    found = {"part and object": identifiability(clean, options, told)}
    if len(settings) > 1:
        found |= knockout_tables(here, settings, options, facts, told)
    return found | {"chance": chance(here, settings, options, told), "sizes": sizes(clean, options, told)}


def identifiability(clean: pd.DataFrame, options: Any, told: str) -> Table:
    """Table 3: part and object; beside them what as many patches say elsewhere in the picture, and N."""
    pieces = [averages(clean, column, ["class"], options).assign(what=name) for name, column in COLUMNS.items()]
    tidy = by_class(pd.concat(pieces)[["class", "what", "value", "low", "high", "n"]], options)
    layout = laid_out(tidy, "class", "what", digits=2)
    read = clean.dropna(subset=["score", "object_score"], how="all").groupby("class")
    layout = layout[[name for name in COLUMNS if name in layout]].assign(
        pictures=read["example"].nunique(), regions=read.size()
    )
    caption = "Identifiability of parts and of their object, both read at the parts' patches without a knockout."
    return Table(tidy, layout, f"{caption} {told}.")


def knockout_tables(
    here: pd.DataFrame, settings: Sequence[str], options: Any, facts: Mapping[str, Any], told: str
) -> dict[str, Table]:
    """Class by setting; the same as paired differences; the last layers of the vision tower."""
    rows = pd.concat([here[here["setting"] == one] for one in settings])
    values = by_class(averages(rows, "score", ["setting", "class"], options), options)
    pairs = pd.concat([beside(here, one, NONE) for one in settings if one != NONE])
    changes = by_class(paired(pairs, "score", "baseline", ["setting", "class"], options), options)
    main = values[values["setting"].isin(SETTINGS)]
    found = {
        "settings": Table(
            main, laid_out(main, "class", "setting", digits=2),
            f"Identifiability of parts under knockouts (AK). {told}.",
        ),
        "change": Table(
            changes, laid_out(changes, "class", "setting", digits=2),
            f"Paired differences of identifiability from the run without a knockout. {told}.",
        ),
    }  # fmt: skip
    order = [one for one in (NONE, *facts["last"], ENCODER, FULL) if one in settings]
    if set(order) & set(facts["last"]):
        last = by_class(pd.concat([values[values["setting"] == one] for one in order]), options)
        found["last layers"] = Table(
            last, laid_out(last, "class", "setting", digits=2),
            f"Identifiability of parts with a knockout in the last layers of the vision tower. {told}.",
        )  # fmt: skip
    return found


def chance(here: pd.DataFrame, settings: Sequence[str], options: Any, told: str) -> Table:
    """Every setting's score beside its nulls: elsewhere in the same picture, and for random logits."""
    rows = pd.concat([here[(here["setting"] == one) & (here["class"] == ALL)] for one in settings])
    columns = {"score": "score", "elsewhere in the picture": "null", "random logits": "chance"}
    pieces = [averages(rows, column, ["setting"], options).assign(what=name) for name, column in columns.items()]
    above = paired(rows, "score", "null", ["setting"], options).assign(what="above elsewhere")
    tidy = pd.concat([*pieces, above], ignore_index=True)
    tidy = pd.concat([tidy[tidy["setting"] == one] for one in settings], ignore_index=True)
    caption = "Scores beside what a region of this size scores by chance, over all classes."
    return Table(tidy, laid_out(tidy, "setting", "what", digits=3), f"{caption} {told}.")


def sizes(clean: pd.DataFrame, options: Any, told: str) -> Table:
    """Figure 8: four bins of part sizes, with both nulls."""
    rows = clean[clean["class"] == ALL]
    number, names = size_bins(rows["share"], options.bins)
    rows = rows.assign(size=number).sort_values("size", kind="stable")
    columns = {"score": "score", "elsewhere in the picture": "null", "random logits": "chance", "patches": "n_patches"}
    pieces = [averages(rows, column, ["size"], options).assign(what=name) for name, column in columns.items()]
    tidy = pd.concat(pieces, ignore_index=True)
    tidy["size"] = [names[one] for one in tidy["size"]]
    caption = "Identifiability by the share of the picture that a part has, without a knockout."
    return Table(tidy, laid_out(tidy, "size", "what", digits=3), f"{caption} {told}.")


def layers(curves: pd.DataFrame, settings: Sequence[str], told: str) -> Table:
    """What the curves over layers show, over all classes.

    Args:
        curves: tidy rows by class, setting and layer.
        settings: in their order.
        told: N.
    """
    rows = curves[curves["class"] == ALL]
    tidy = pd.concat([rows[rows["setting"] == one] for one in settings], ignore_index=True)
    layout = laid_out(tidy, "layer", "setting", digits=3)
    return Table(tidy, layout, f"Identifiability of parts after every layer (0: what enters the decoder). {told}.")


def by_class(tidy: pd.DataFrame, options: Any) -> pd.DataFrame:
    """Class by class, in the order of the option, "all" last."""
    order = {name: place for place, name in enumerate((*options.classes, ALL))}
    return tidy.sort_values("class", key=lambda one: one.map(order), kind="stable").reset_index(drop=True)
