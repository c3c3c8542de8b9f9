"""Descriptions under conditions, compared with the model's own by a judge."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlm_lens.data import Example
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.descriptions import DescriptionOptions, in_parts, text_of
from vlm_lens.experiments.grid import Grid
from vlm_lens.experiments.options import option
from vlm_lens.metrics.judges import Judge, judge_named


@dataclass(frozen=True)
class JudgedOptions(DescriptionOptions):
    """What can be chosen about descriptions that are compared."""

    judge: str = option(
        "objects",
        "who compares two descriptions: 'objects' (a list of nouns, offline), or 'chat:MODEL@BASE_URL' (the paper asks "
        "a large language model)",
    )
    queries: str = option(
        "predicting",
        "which rows lose image tokens: 'predicting' (those that produce the generated tokens) or 'generated'",
        among=("predicting", "generated"),
        paper="generated",
        quirk="The published code blocks steps of a single row, so that the row which produces the first generated "
        "token, the last of the prompt, still sees the whole picture. By default it sees as little as the others.",
    )


def judge_of(context: Context) -> Judge:
    """The judge that the options name."""
    found: Judge = context.once("judge", lambda: judge_named(context.options.judge))
    return found


def judged(context: Context, clean: str, text: str) -> dict[str, Any]:
    """How a description stands against the model's own, as columns: counts, precision, recall, F1, names."""
    compared = judge_of(context).compare(clean, text)
    sizes = {"n_reference": len(compared.reference), "n_candidate": len(compared.candidate)}
    return {**sizes, **compared.to_dict()}


def compared_descriptions(context: Context, example: Example, grid: Grid, own: Any) -> list[dict[str, Any]]:
    """A row for the model's own description of a picture, and one for that under each condition of a grid.

    Args:
        context: with `JudgedOptions`.
        example: the picture.
        grid: conditions that are named by tuples whose fields become columns, each with a description.
        own: such a tuple, for the model's own.
    """
    rows: list[dict[str, Any]] = []
    for names, found in in_parts(context, grid):
        clean = text_of(context, found.clean.generation)
        told = [] if rows else [(own, clean)]
        told += [(name, text_of(context, cell.generation)) for name, cell in zip(names, found, strict=True)]
        rows += [
            {"example": example.id, **name._asdict(), **text, **judged(context, clean["text"], text["text"])}
            for name, text in told
        ]
    return rows


def judging_notes(rows: pd.DataFrame, clean: pd.DataFrame, options: Any, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """What a reader must know of judged descriptions: who judged, what was cut, what named nothing.

    Args:
        rows: of all descriptions.
        clean: those of the model's own.
        options: of the experiment.
        facts: with `judge`, its fingerprint.
    """
    told = [f"Descriptions are compared by the judge {options.judge!r} ({facts['judge']})."]
    if n_silent := int((clean["n_reference"] == 0).sum()):
        told.append(
            f"{n_silent} of {len(clean)} own descriptions name no object for the judge; by convention F1 is then 1 "
            "where the other names none either, and 0 where it does."
        )
    if n_cut := int(rows["is_cut"].sum()):
        told.append(
            f"{n_cut} of {len(rows)} descriptions ({int(clean['is_cut'].sum())} of them the model's own) were cut at "
            f"{options.max_new_tokens} tokens."
        )
    return tuple(told)
