"""Attention from the object, or from the rest of the picture, blocked in windows of layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from vlm_lens.data import Dataset, Example, Question
from vlm_lens.errors import InputError
from vlm_lens.experiments.answers import AnsweredOptions, Beginning, Said, beginning_of, said_of
from vlm_lens.experiments.attention_blocking.windows import NAMES, paper_windows, sliding_windows
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Experiment, Grid, Rows
from vlm_lens.experiments.object_questions import object_question, with_object_question
from vlm_lens.experiments.options import option
from vlm_lens.experiments.over_pictures import differences, means
from vlm_lens.experiments.prompts import asked
from vlm_lens.experiments.summary import Finding, Summary, Table, laid_out
from vlm_lens.interventions import AttentionKnockout
from vlm_lens.layout import TokenLayout
from vlm_lens.plotting.blocking_windows import blocking_windows
from vlm_lens.sweeps import Logits
from vlm_lens.sweeps.cell import Cell

OBJECT, OBJECT_1, OBJECT_2 = "object -> last", "object + 1 -> last", "object + 2 -> last"
REST, TO_ROW, ROWS_TO_ROW = "image - (object + 1) -> last", "object + 1 -> last row", "image - last row -> last row"
SOURCES = (OBJECT, OBJECT_1, OBJECT_2, REST, TO_ROW, ROWS_TO_ROW)


@dataclass(frozen=True)
class AttentionBlockingOptions(AnsweredOptions):
    """What can be chosen."""

    answer_prefix: str = option("It is a", "how the answer begins")
    windows: str = option("paper", "'paper' for its six windows, 'sliding' for every window of `width` layers")
    width: int = option(10, "layers in a sliding window")
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
            "windows": {name: [one[0], one[-1]] for name, one in _windows(context).items()},
            "split": {word: list(one.pieces) for word, one in begun.items() if not one.is_whole},
        }

    def grid(self, context: Context, example: Example) -> Grid:
        """Windows x sources, read at the last position."""
        question, annotation = object_question(example, context.options.task)
        inputs = asked(context.vlm, example.image, question.text, answer=context.options.answer_prefix)
        conditions = {
            (window, source): AttentionKnockout(queries, keys, layers=layers)
            for source, (queries, keys) in blocked_edges(
                inputs.layout, annotation.mask, context.options.blocks_own_row
            ).items()
            for window, layers in _windows(context).items()
        }
        return Grid(inputs, conditions, Logits())

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """A row for each window and source of each picture."""
        return {"cells": [row for example in examples for row in self._cells(context, example)]}

    def _cells(self, context: Context, example: Example) -> list[dict[str, Any]]:
        vlm, options = context.vlm, context.options
        question, _ = object_question(example, options.task)
        answer = beginning_of(vlm, question.answer, options.answer_prefix)
        grid = self.grid(context, example)
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
        """Table 2, its figure, and three claims."""
        cells = rows["cells"]
        n_all = cells["example"].nunique()
        if options.among_right:
            cells = cells[cells["clean_is_right"]]
        if cells.empty:
            advice = "Look at what the model answers; another prompt or answer_prefix may fit it better."
            got = f"none of {n_all}"
            raise InputError("Pictures that are answered right when nothing is blocked", "at least one", got, advice)
        accuracy, probability = (means(cells, value, ["source", "window"]) for value in ("is_right", "probability"))
        change = differences(cells, "probability", ["source", "window"], "clean_probability")
        n = cells["example"].nunique()
        told = f"N = {n} of {n_all} pictures" + (
            " (those answered right when nothing is blocked)" if options.among_right else ""
        )
        tables = {
            "accuracy": Table(accuracy, laid_out(accuracy, "source", "window", digits=2), f"Accuracy. {told}."),
            "probability": Table(
                probability, laid_out(probability, "source", "window", digits=2),
                f"Probability of the right answer's first token. {told}.",
            ),
            "change of probability": Table(
                change, laid_out(change, "source", "window", digits=2),
                f"Paired difference of that probability from the run without blocking. {told}.",
            ),
        }  # fmt: skip
        split = [f"{word!r} is read by its first piece: {pieces}" for word, pieces in facts["split"].items()]
        windows = ", ".join(f"{name} {first} to {last}" for name, (first, last) in facts["windows"].items())
        return Summary(
            tables,
            {
                "accuracy": partial(blocking_windows, accuracy, "accuracy"),
                "probability": partial(blocking_windows, probability, "probability of the right answer"),
            },
            _findings(change, accuracy) if options.windows == "paper" else (),
            (f"Layers, counted from 0: {windows}.", *split),
        )


def blocked_edges(layout: TokenLayout, mask: Any, blocks_own_row: bool) -> dict[str, tuple[Any, Any]]:
    """For each source the queries and keys between which attention is blocked; sources without any edge are left out.

    Args:
        layout: of the prompt, one picture.
        mask: the object's pixels, `[height width]`.
        blocks_own_row: whether the last row of patches loses the source's patches that lie in itself.
    """
    found = layout.region(mask)
    row = layout.patches(rows=-1)
    near = found.dilate(1)
    into_row = near if blocks_own_row else near - row
    edges = {
        OBJECT: ("last", found),
        OBJECT_1: ("last", near),
        OBJECT_2: ("last", found.dilate(2)),
        REST: ("last", ~near),
        TO_ROW: ("last_row", into_row),
        ROWS_TO_ROW: ("last_row", ~row),
    }
    return {source: edge for source, edge in edges.items() if len(edge[1])}


def _windows(context: Context) -> dict[str, range]:
    options, n_layers = context.options, context.vlm.cfg.n_layers
    if options.windows == "paper":
        return paper_windows(n_layers)
    if options.windows == "sliding":
        return sliding_windows(n_layers, options.width)
    raise InputError("Option 'windows'", "'paper' or 'sliding'", repr(options.windows))


def _findings(change: pd.DataFrame, accuracy: pd.DataFrame) -> tuple[Finding, ...]:
    def at(source: str, window: str, table: pd.DataFrame = change) -> Any:
        found = table[(table["source"] == source) & (table["window"] == window)]
        return None if found.empty else found.iloc[0]

    def told(row: Any) -> str:
        return f"{row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"

    windows = {name: at(OBJECT_1, name) for name in NAMES[:-1]}
    late, early = windows["mid-late"], windows["early"]
    all_object, all_rest, summary = at(OBJECT_1, "all"), at(REST, "all"), at(ROWS_TO_ROW, "all")
    findings = [
        Finding(
            "Blocking the object from the last position hurts most in mid-late layers (section 4.2, table 2).",
            bool(late.high < early.low and late.value == min(one.value for one in windows.values())),
            "Change of the right answer's probability by window: "
            + ", ".join(f"{name} {told(one)}" for name, one in windows.items()) + f"; N = {early.n}.",
        ),
        Finding(
            "The object's rows matter to the last position, over all layers (table 2: 0.67 of answers are left).",
            bool(all_object.high < 0),
            f"Object + 1 in all layers: {told(all_object)}; the rest of the picture: {told(all_rest)}.",
        ),
    ]  # fmt: skip
    if summary is not None:
        findings.append(
            Finding(
                "The last row of patches is no summary of the picture: blocking it from the others changes nothing "
                "(table 2: 1.00).",
                bool(summary.low > -0.05 and summary.high < 0.05),
                f"Change of the probability: {told(summary)}; N = {summary.n}.",
            )
        )
    return tuple(findings)
