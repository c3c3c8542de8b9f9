"""Table 1: accuracy for each task and over tasks, and the tokens that an answer takes."""

from collections.abc import Sequence

import pandas as pd

from vlm_lens.experiments.over_pictures import means
from vlm_lens.experiments.summary import figures_of, laid_out
from vlm_lens.metrics.intervals import Estimate, difference_over_pictures, mean_over_pictures

ACC, ACC_PLUS = "ACC", "ACC+"
AVERAGE, TOKENS = "Average", "#Tokens"
COLUMNS = ["method", "task", "measure", "value", "low", "high", "n"]


def scored(answers: pd.DataFrame) -> pd.DataFrame:
    """What the figures are means of: for ACC a row for each question, for ACC+ a row for each picture of a task.

    Args:
        answers: with `example`, `task`, `method`, `is_right`.

    Returns:
        `example`, `task`, `method`, `measure`, `score`: 1 where it is right, for ACC+ where all of the picture's are.
    """
    keys = ["example", "task", "method"]
    questions = answers[keys].assign(measure=ACC, score=answers["is_right"].astype(float))
    pictures = answers.groupby(keys, sort=False)["is_right"].all().astype(float).rename("score").reset_index()
    return pd.concat([questions, pictures.assign(measure=ACC_PLUS)], ignore_index=True)


def by_task(scores: pd.DataFrame) -> pd.DataFrame:
    """ACC and ACC+ of each method in each task, with intervals over pictures."""
    return means(scores, "score", ["method", "task", "measure"])[COLUMNS]


def in_order(figures: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """Figures of tasks in the order in which the tasks are asked for."""
    places = {task.casefold(): place for place, task in enumerate(tasks)}
    return figures.sort_values("task", key=lambda named: named.str.casefold().map(places), kind="stable")


def averages(scores: pd.DataFrame) -> pd.DataFrame:
    """ACC and ACC+ of each method as means over tasks, each task of the same weight, as the paper's averages are."""
    found = []
    for (method, measure), group in scores.groupby(["method", "measure"], sort=False):
        per = _of_equal_tasks(group)
        estimate = mean_over_pictures(per["score"].to_numpy(), per["weight"].to_numpy())
        found.append({"method": method, "task": AVERAGE, "measure": measure, **figures_of(estimate)})
    return pd.DataFrame(found, columns=COLUMNS)


def average_difference(scores: pd.DataFrame, method: str, baseline: str, measure: str = ACC) -> Estimate | None:
    """How much better a method is than another over tasks of the same weight, pictures paired; None without one."""
    of = {name: scores[(scores["method"] == name) & (scores["measure"] == measure)] for name in (method, baseline)}
    if any(one.empty for one in of.values()):
        return None
    mine, other = (_of_equal_tasks(of[name]) for name in (method, baseline))
    other = other.loc[mine.index]
    return difference_over_pictures(mine["score"].to_numpy(), other["score"].to_numpy(), mine["weight"].to_numpy())


def n_tokens(answers: pd.DataFrame) -> pd.DataFrame:
    """Positions that answer a question in each layer: what is held, and what is read for it; means over questions."""
    counted = answers.assign(all=answers["n_held"] + answers["n_new"])
    parts = {TOKENS: "all", "held": "n_held", "read anew": "n_new"}
    found = [
        means(counted, column, "method", is_binary=False).assign(task="Reprompt", measure=name)
        for name, column in parts.items()
    ]
    return pd.concat(found, ignore_index=True)[COLUMNS]


def laid_out_as_table_one(figures: pd.DataFrame, tokens: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """The paper's rows and columns: ACC and ACC+ in per cent for each task and the average, and the tokens.

    Args:
        figures: of `by_task` and `averages`.
        tokens: of `n_tokens`.
        methods: the rows; one that was not run has dashes.
    """
    shown = figures.assign(task=[heading(task) for task in figures["task"]])
    order = {task: place for place, task in enumerate(dict.fromkeys(shown["task"]))}
    shown = shown.sort_values("task", key=lambda tasks: tasks.map(order), kind="stable")
    accuracy = laid_out(shown, "method", ["task", "measure"], digits=2, scale=100.0)
    counts = laid_out(
        tokens[tokens["measure"] == TOKENS], "method", ["task", "measure"], digits=0, intervals=False
    )  # fmt: skip
    return accuracy.join(counts).reindex(list(methods)).fillna("-")


def heading(task: str) -> str:
    """A task as the paper writes it.

    >>> heading("posters"), heading("existence"), heading("OCR")
    ('Poster', 'Existence', 'OCR')
    """
    known = {"posters": "Poster", "ocr": "OCR"}
    return known.get(task.lower(), task[:1].upper() + task[1:])


def _of_equal_tasks(group: pd.DataFrame) -> pd.DataFrame:
    """For each picture the sum of its rows' scores and of their weights, which are equal over tasks.

    The weights' mean is 1, so that with one task each row counts as one.
    """
    sizes = group.groupby("task")["score"].transform("size")
    weight = len(group) / (group["task"].nunique() * sizes)
    weighted = pd.DataFrame({"example": group["example"], "score": weight * group["score"], "weight": weight})
    return weighted.groupby("example", sort=False)[["score", "weight"]].sum()
