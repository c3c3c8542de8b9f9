"""Attention from the object, or from the rest of the picture, blocked in windows of layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from vlm_lens.data import Dataset, Example, Question
from vlm_lens.errors import InputError
from vlm_lens.experiments.answers import AnsweredOptions, Beginning, Said, beginning_of, said_of
from vlm_lens.experiments.attention_blocking.edges import blocked_edges
from vlm_lens.experiments.attention_blocking.findings import findings_of_sliding, findings_of_windows
from vlm_lens.experiments.attention_blocking.windows import paper_width, paper_windows, sliding_windows
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Experiment, Grid, Rows
from vlm_lens.experiments.object_patches import ObjectPatchesOptions, object_region
from vlm_lens.experiments.object_questions import object_question, with_object_question
from vlm_lens.experiments.options import option
from vlm_lens.experiments.over_pictures import differences, means
from vlm_lens.experiments.prompts import asked
from vlm_lens.experiments.summary import Summary, Table, laid_out
from vlm_lens.interventions import AttentionKnockout
from vlm_lens.plotting.blocking_windows import blocking_by_layer, blocking_windows
from vlm_lens.sweeps import Logits
from vlm_lens.sweeps.cell import Cell


@dataclass(frozen=True)
class AttentionBlockingOptions(AnsweredOptions, ObjectPatchesOptions):
    """What can be chosen."""

    answer_prefix: str = option("It is a", "how the answer begins")
    windows: str = option(
        "paper",
        "'paper' for its six windows, 'sliding' for every window of `width` layers",
        among=("paper", "sliding"),
    )
    width: int = option(0, "layers in a sliding window; 0 for the same share of the depth as the paper's 10 of 32")
    blocks_own_row: bool = option(
        False,
        "whether the last row of patches also loses what it holds of the source itself",
        paper=True,
        quirk="An object that reaches into the last row of patches is blocked there from itself as well, which is no "
        "flow into that row; by default its own patches stay visible to it.",
    )
    among_right: bool = option(
        True, "whether figures are over the pictures that are answered right when nothing is blocked"
    )


class AttentionBlocking(Experiment):
    """The answer's token when attention is blocked between parts of the sequence, in windows of layers."""

    name = "attention-blocking"
    paper = "Neo et al. 2024"
    figures = "Table 2, figure 8"
    question = "From which rows, and in which layers, does the answer read the object?"
    needs = "pictures with masks, and questions whose answer is one of the objects"
    Options = AttentionBlockingOptions

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """Pictures with a question whose answer is one object of the picture."""
        return with_object_question(data, options.task)

    def facts(self, context: Context) -> Mapping[str, Any]:
        """Depth, windows, and labels that the tokenizer splits."""
        answers = sorted({object_question(example, context.options.task)[0].answer for example in context.data})
        begun = {word: beginning_of(context.vlm, word, context.options.answer_prefix) for word in answers}
        return {
            "n_layers": context.vlm.cfg.n_layers,
            "steps": [[step.name, step.n_before, step.n_after] for step in context.data.steps],
            "windows": {name: [one[0], one[-1]] for name, one in _windows(context).items()},
            "split": {word: list(one.pieces) for word, one in begun.items() if not one.is_whole},
        }

    def grid(self, context: Context, example: Example) -> Grid:
        """Windows x sources, read at the last position."""
        options = context.options
        question, annotation = object_question(example, options.task)
        inputs = asked(context.vlm, example.image, question.text, answer=options.answer_prefix)
        found = object_region(inputs.layout.image_span(), annotation, options.geometry)
        conditions = {
            (window, source): AttentionKnockout(queries, keys, layers=layers)
            for source, (queries, keys) in blocked_edges(inputs.layout, found, options.blocks_own_row).items()
            for window, layers in _windows(context).items()
        }
        return Grid(inputs, conditions, Logits())

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """A row for each picture, and one for each of its windows and sources."""
        pictures, cells = [], []
        for example in examples:
            of_picture = self._cells(context, example)
            cells += of_picture
            pictures.append({"example": example.id, "is_seen": bool(of_picture)})
        return {"pictures": pictures, "cells": cells}

    def _cells(self, context: Context, example: Example) -> list[dict[str, Any]]:
        """The rows of a picture; none where the crop cut the object away."""
        vlm, options = context.vlm, context.options
        question, _ = object_question(example, options.task)
        answer = beginning_of(vlm, question.answer, options.answer_prefix)
        grid = self.grid(context, example)
        if not grid.conditions:
            return []
        found = context.sweep(grid)
        clean = self._said(context, question, answer, found.clean)
        rows = []
        for (window, source), cell in zip(grid.conditions, found, strict=True):
            said = self._said(context, question, answer, cell)
            rows.append(
                {"example": example.id, "answer": question.answer, "window": window, "source": source,
                 "is_right": said.is_right, "probability": said.probability, "token": said.token,
                 "clean_is_right": clean.is_right, "clean_probability": clean.probability, "clean_token": clean.token}
            )  # fmt: skip
        return rows

    def _said(self, context: Context, question: Question, answer: Beginning, cell: Cell) -> Said:
        assert cell.logits is not None
        return said_of(context.vlm, cell.logits[0], question.answer, answer, context.options.token_rule)

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Table 2 or figure 8, and the paper's claims."""
        pictures, cells = rows["pictures"], rows.get("cells", pd.DataFrame())
        n_seen = int(pictures["is_seen"].sum())
        right = cells[cells["clean_is_right"].astype(bool)] if len(cells) else cells
        n_right = right["example"].nunique() if len(right) else 0
        cells = right if options.among_right else cells
        counted = (
            f"Pictures: {len(pictures)}; with the object inside of what the model sees: {n_seen}; answered right when "
            f"nothing is blocked: {n_right}."
        )
        if cells.empty:
            advice = "Look at what the model answers; another prompt or answer_prefix may fit it better."
            what = "Pictures that are answered right when nothing is blocked"
            raise InputError(what, "at least one", f"none ({counted.rstrip('.')})", advice)
        accuracy = means(cells, "is_right", ["source", "window"])
        probability = means(cells, "probability", ["source", "window"], is_binary=False)
        change = differences(cells, "probability", ["source", "window"], "clean_probability")
        right_ones = " (those answered right when nothing is blocked)" if options.among_right else ""
        told = f"N = {cells['example'].nunique()} of {len(pictures)} pictures{right_ones}"
        captions = {
            "accuracy": (accuracy, "Accuracy"),
            "probability": (probability, "Probability of the right answer's first token"),
            "change of probability": (change, "Paired difference of that probability from the run without blocking"),
        }
        tables = {
            name: Table(tidy, laid_out(tidy, "source", "window", digits=2), f"{caption}. {told}.")
            for name, (tidy, caption) in captions.items()
        }
        is_sliding = options.windows == "sliding"
        draw = partial(blocking_by_layer, facts["windows"]) if is_sliding else blocking_windows
        figures = {
            "accuracy": partial(draw, accuracy, "accuracy"),
            "probability": partial(draw, probability, "probability of the right answer"),
        }
        findings = (
            findings_of_sliding(cells, change, facts["windows"], facts["n_layers"])
            if is_sliding
            else findings_of_windows(cells, change)
        )
        return Summary(tables, figures, findings, (*_notes(facts), counted))


def _windows(context: Context) -> dict[str, range]:
    options, n_layers = context.options, context.vlm.cfg.n_layers
    if options.windows == "paper":
        return paper_windows(n_layers)
    return sliding_windows(n_layers, options.width or paper_width(n_layers))


def _notes(facts: Mapping[str, Any]) -> tuple[str, ...]:
    windows = ", ".join(
        f"{first} to {last}" if name == f"{first}-{last}" else f"{name} {first} to {last}"
        for name, (first, last) in facts["windows"].items()
    )
    return (
        "Filters of the data: "
        + "; ".join(f"{name}: {before} -> {after}" for name, before, after in facts["steps"]) + ".",
        f"Layers, counted from 0: {windows}.",
        *(f"{word!r} is read by its first piece: {pieces}." for word, pieces in facts["split"].items()),
    )  # fmt: skip
