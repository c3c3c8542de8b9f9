"""Tokens of a picture put at their mean, and whether the model still names the object."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vlm_lens.data import Dataset, Example
from vlm_lens.data.filters import area_between, at_most_annotations, one_instance
from vlm_lens.experiments.answers import beginning_of
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Experiment, Grid, Rows
from vlm_lens.experiments.mean_pictures import mean_of, told_of_mean, write_mean
from vlm_lens.experiments.object_ablation.gradients import ranking_by_gradients
from vlm_lens.experiments.object_ablation.noise import hidden_by_noise
from vlm_lens.experiments.object_ablation.options import ObjectAblationOptions
from vlm_lens.experiments.object_ablation.tables import summarised
from vlm_lens.experiments.object_ablation.tasks import (
    GENERATIVE,
    IS_THERE,
    IT_IS_A,
    POLLING,
    TASKS,
    VQA,
    Answered,
    Subject,
    answered,
    grid_of,
    prompt_of,
    scored_text,
    subject_of,
)  # fmt: skip
from vlm_lens.experiments.object_ablation.token_sets import (
    REGISTER,
    TokenSet,
    gradient_sets,
    object_sets,
    random_pool,
    random_sets,
    wanted_counts,
)  # fmt: skip
from vlm_lens.experiments.object_patches import object_region
from vlm_lens.experiments.summary import Summary
from vlm_lens.inputs import Inputs
from vlm_lens.layout import Region
from vlm_lens.probes import RegisterTokens


class ObjectAblation(Experiment):
    """Table 1: the object's tokens, their neighbours, register tokens, the tokens that gradients name, random ones."""

    name = "object-ablation"
    paper = "Neo et al. 2024"
    figures = "Table 1"
    question = "Does a model name an object from the tokens that saw it, or from others?"
    needs = "pictures with masks; for VQA also questions whose answer is one of the objects"
    Options = ObjectAblationOptions

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """Simple pictures with an object of the right size that is there once."""
        few = at_most_annotations(data, options.most_annotations)
        return area_between(one_instance(few), options.least_area, options.most_area)

    def prepare(self, context: Context) -> None:
        """The mean of the tokens of many pictures."""
        write_mean(context, context.options.mean_pictures)

    def facts(self, context: Context) -> Mapping[str, Any]:
        """The grid, where the mean is from, answers that the tokenizer splits, and what the data's filters left."""
        subjects = [subject_of(context, example) for example in context.data]
        words = sorted({one.question.answer for one in subjects if one.question})
        begun = {word: beginning_of(context.vlm, word, IT_IS_A) for word in words}
        return {
            "n_layers": context.vlm.cfg.n_layers,
            "n_patches": context.vlm.prepare(context.data[0].image, "?").layout.image_span().grid.n_patches,
            "mean": told_of_mean(context, context.options.mean_pictures),
            "split": {word: list(one.pieces) for word, one in begun.items() if not one.is_whole},
            "steps": [[step.name, step.n_before, step.n_after] for step in context.data.steps],
        }

    def grid(self, context: Context, example: Example) -> Grid:
        """The ablations under "Is there a ...?"."""
        subject = subject_of(context, example)
        polling = prompt_of(context, subject, POLLING, example.image)
        found = object_region(polling.layout.image_span(), subject.annotation, context.options.geometry)
        sets = self._sets(context, subject, polling, found) if found else []
        return grid_of(context, POLLING, polling, sets, mean_of(context))

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """A row for each picture, and one for each task and set of tokens of those that are kept."""
        pictures, cells = [], []
        for example in examples:
            picture, of_picture = self._example(context, subject_of(context, example))
            pictures.append(picture)
            cells += of_picture
        return {"pictures": pictures, "cells": cells}

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Table 1, the same at equal counts, both figures, and the paper's claims."""
        return summarised(rows, options, facts)

    def _example(self, context: Context, subject: Subject) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What the filters say of a picture, and the rows of what is left."""
        example, options = subject.example, context.options
        image = example.image
        polling = prompt_of(context, subject, POLLING, image)
        found = object_region(polling.layout.image_span(), subject.annotation, options.geometry)
        row = {
            "example": example.id, "object": subject.category, "area": subject.annotation.area, "n_patches": len(found),
            "question": subject.question.text if subject.question else None,
        }  # fmt: skip
        if not found:  # the crop cut it away
            return {**row, "is_named": None, "is_named_without": None, "text": None, "text_without": None}, []
        describing = prompt_of(context, subject, GENERATIVE, image)
        named = self._described(context, subject, describing)
        hidden = hidden_by_noise(
            image, subject.annotation.mask, found, options.noise, options.geometry, context.random(example.id, "noise")
        )
        without = self._described(context, subject, prompt_of(context, subject, GENERATIVE, hidden))
        row |= {
            "is_named": named.is_right, "is_named_without": without.is_right,
            "text": named.text, "text_without": without.text,
        }  # fmt: skip
        is_seen = named.is_right and not without.is_right or not options.filters_hallucinations
        has_vqa = subject.question is not None and (is_seen or not options.filters_vqa)
        tasks = [task for task in TASKS if (has_vqa if task == VQA else is_seen)]
        sets = self._sets(context, subject, polling, found) if tasks else []
        cells: list[dict[str, Any]] = []
        for task in tasks:
            inputs = {GENERATIVE: describing, POLLING: polling}.get(task) or prompt_of(context, subject, task, image)
            cells += self._cells(context, subject, task, inputs, sets)
        return row, cells

    def _described(self, context: Context, subject: Subject, inputs: Inputs) -> Answered:
        text = context.vlm.generate(inputs, max_new_tokens=context.options.description_tokens).text
        return scored_text(context, subject, GENERATIVE, inputs, text)

    def _sets(self, context: Context, subject: Subject, polling: Inputs, found: Region) -> list[TokenSet]:
        """All sets of tokens of a picture, in table 1's order."""
        options, mean, example = context.options, mean_of(context), subject.example.id
        n_patches = found.span.grid.n_patches
        registers = RegisterTokens(options.n_std)
        long = context.vlm.run(polling, registers)[registers].region()
        of_object = object_sets(found)
        like = of_object if options.adds_equal_counts else ()
        ranking = ranking_by_gradients(context, polling, IS_THERE.format(subject.category), mean)
        pool = random_pool(found, options.random_excludes_object)

        def wanted() -> Any:
            return wanted_counts(options.counts, n_patches, options.large_counts, like)

        return [
            *of_object,
            TokenSet(REGISTER, None, "", long.patch_ids),
            *gradient_sets(ranking, n_patches, wanted()),
            *random_sets(context, example, pool, wanted()),
        ]

    def _cells(
        self, context: Context, subject: Subject, task: str, inputs: Inputs, sets: Sequence[TokenSet]
    ) -> list[dict[str, Any]]:
        found = context.sweep(grid_of(context, task, inputs, sets, mean_of(context)))
        clean = answered(context, subject, task, inputs, found.clean)
        rows = []
        for one in sets:
            # Where there is no token to ablate, nothing changes.
            after = answered(context, subject, task, inputs, found[one.name]) if one.n_tokens else clean
            rows.append(
                {"example": subject.example.id, "task": task, "kind": one.kind, "count": one.count, "like": one.like,
                 "n_tokens": one.n_tokens, **after.to_dict(), **clean.to_dict("clean_")}
            )  # fmt: skip
        return rows
