"""Table 1 and what stands beside it, worked out of the rows."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from vlm_lens.errors import InputError
from vlm_lens.experiments.object_ablation.findings import findings_of
from vlm_lens.experiments.object_ablation.options import ObjectAblationOptions
from vlm_lens.experiments.object_ablation.tasks import GENERATIVE, POLLING, TASKS, VQA
from vlm_lens.experiments.object_ablation.token_sets import GRADIENTS, OF_OBJECT, RANDOM, REGISTER
from vlm_lens.experiments.over_pictures import differences, means
from vlm_lens.experiments.summary import Summary, Table, laid_out
from vlm_lens.plotting.ablation_decrease import ablation_bars, ablation_curves

FIGURES = ["value", "low", "high", "n"]


def summarised(rows: Mapping[str, pd.DataFrame], options: ObjectAblationOptions, facts: Mapping[str, Any]) -> Summary:
    """Table 1, the same at equal counts, both figures, and the paper's claims.

    Raises:
        InputError: no picture is left that was answered right without an ablation, with what each filter took.
    """
    pictures, cells = rows["pictures"], rows.get("cells", pd.DataFrame())
    notes = _notes(pictures, cells, options, facts)
    right = cells[cells["clean_is_right"].astype(bool)] if len(cells) else cells
    if right.empty:
        advice = "Look at what the model says in rows['pictures'], and loosen a filter."
        got = f"none of {len(pictures)} ({notes[1].rstrip('.')})"
        raise InputError("Pictures that are answered right before an ablation", "at least one", got, advice)
    right = right.assign(is_lost=~right["is_right"].astype(bool))
    decrease = decreases(right, options)
    told = "; ".join(f"{task}: N = {_n(right, task)}" for task in TASKS)
    layout = laid_out(decrease, "row", "task", digits=1, scale=100)
    layout.index.name, layout.columns.name = "Ablation Type (Avg Token Count)", "Decrease (%)"
    caption = f"Decrease in % among the pictures that were answered right before; 95% over pictures. {told}."
    tables = {"decrease": Table(decrease, layout, caption)}
    if options.adds_equal_counts:
        equal, change = at_equal_counts(right)
        tables["equal counts"] = Table(
            equal, laid_out(equal, "as many as", ["task", "tokens"], digits=1, scale=100),
            f"Decrease in % where gradients and random take as many tokens as the object has in each picture. {told}.",
        )  # fmt: skip
        tables["difference at equal counts"] = Table(
            change, laid_out(change, "as many as", ["task", "less"], digits=1, scale=100),
            f"Paired difference in points: the object's decrease less that of as many others. {told}.",
        )  # fmt: skip
        findings = findings_of(decrease, equal, change)
    else:
        findings = findings_of(decrease, None, None)
    figures = {"decrease": partial(ablation_bars, decrease), "token count": partial(ablation_curves, _curves(decrease))}
    return Summary(tables, figures, findings, notes)


def decreases(right: pd.DataFrame, options: ObjectAblationOptions) -> pd.DataFrame:
    """Table 1's rows and columns, tidy: those that were not measured have no value and an N of 0.

    Args:
        right: the rows of pictures that were answered right before.
        options: of the run.
    """
    of_table = right[right["like"] == ""]
    found = means(of_table, "is_lost", ["kind", "count", "task"])
    # A picture has the same tokens under each task.
    of_pictures = of_table.drop_duplicates(["example", "kind", "count"])
    counted = of_pictures.groupby(["kind", "count"], dropna=False)["n_tokens"].mean().reset_index()
    kinds = [(kind, np.nan) for kind in (*OF_OBJECT, REGISTER)]
    kinds += [(kind, float(count)) for kind in (GRADIENTS, RANDOM) for count in options.counts]
    wanted = pd.DataFrame([(*kind, task) for kind in kinds for task in TASKS], columns=["kind", "count", "task"])
    found, counted = (one.astype({"count": float}) for one in (found, counted))
    table = wanted.merge(counted, how="left").merge(found, how="left")
    table["n"] = table["n"].fillna(0).astype(int)
    table.insert(0, "row", [_row_name(one) for one in table.itertuples()])
    return table


def _row_name(row: Any) -> str:
    """A row as the paper names it: "Object (12.6)"."""
    if row.count != row.count:
        return f"{row.kind} ({row.n_tokens:.1f})"
    is_scaled = row.n_tokens == row.n_tokens and row.n_tokens != row.count
    return f"{row.kind} ({row.count:g}, here {row.n_tokens:g})" if is_scaled else f"{row.kind} ({row.count:g})"


def at_equal_counts(right: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The object's decrease beside that of as many other tokens, and the paired difference of both, tidy.

    They stand beside each other over the same pictures: one without enough patches beside the object to draw as many
    from is in neither. The paired difference from gradients has it.
    """
    own = right[right["kind"].isin(OF_OBJECT)].assign(like=lambda rows: rows["kind"])
    others = right[right["like"] != ""]
    both, same = pd.concat([own.assign(kind="the object's"), others]), ["example", "task", "like"]
    n_kinds = both.groupby(same)["kind"].transform("nunique")
    equal = means(both[n_kinds == both["kind"].nunique()], "is_lost", ["like", "task", "kind"])
    paired = others.merge(own[[*same, "is_lost"]], on=same, suffixes=("", "_own"))
    change = differences(paired, "is_lost_own", ["like", "task", "kind"], "is_lost")
    return (
        _in_order(equal, ["the object's", GRADIENTS, RANDOM]).rename(columns={"like": "as many as", "kind": "tokens"}),
        _in_order(change, [GRADIENTS, RANDOM]).rename(columns={"like": "as many as", "kind": "less"}),
    )


def _in_order(table: pd.DataFrame, kinds: list[str]) -> pd.DataFrame:
    places = {"like": list(OF_OBJECT), "task": list(TASKS), "kind": kinds}
    return table.sort_values(list(places), key=lambda column: column.map(places[column.name].index), ignore_index=True)


def _curves(decrease: pd.DataFrame) -> pd.DataFrame:
    """The measured rows with the line that each belongs to."""
    lines = {**dict.fromkeys(OF_OBJECT, "Object, + 1, + 2"), GRADIENTS: GRADIENTS, RANDOM: RANDOM, REGISTER: REGISTER}
    return decrease.assign(line=decrease["kind"].map(lines)).dropna(subset=["value"])


def _n(right: pd.DataFrame, task: str) -> int:
    return int(right.loc[right["task"] == task, "example"].nunique())


def _notes(
    pictures: pd.DataFrame, cells: pd.DataFrame, options: ObjectAblationOptions, facts: Mapping[str, Any]
) -> tuple[str, ...]:
    steps = "; ".join(f"{name}: {before} -> {after}" for name, before, after in facts["steps"])
    n_seen = int((pictures["n_patches"] > 0).sum())
    is_named = pictures["is_named"].eq(True)
    n_hidden = int((is_named & pictures["is_named_without"].eq(False)).sum())
    filtered = (
        f"Pictures: {len(pictures)}; with the object inside of what the model sees: {n_seen}; whose description names "
        f"it: {int(is_named.sum())}; and no longer does under noise ({options.noise}): {n_hidden}."
    )
    before = [
        f"{task} {int(of['clean_is_right'].sum())} of {len(of)}"
        for task, of in cells.drop_duplicates(["example", "task"]).groupby("task", sort=False)
    ] if len(cells) else []  # fmt: skip
    left_out = [count for count in options.counts if options.large_counts == "left out" and count > facts["n_patches"]]
    scaled = options.large_counts == "scaled" and facts["n_patches"] != 576
    kept = "filtered for hallucinations" if options.filters_hallucinations else "not filtered for hallucinations"
    excluded = "beside the object's" if options.random_excludes_object else "the object's among them"
    return (
        f"Filters of the data: {steps}.",
        filtered,
        f"Answered right before an ablation: {', '.join(before) or 'none'}. {GENERATIVE} and {POLLING} are {kept}; "
        f"{VQA} is{'' if options.filters_vqa and options.filters_hallucinations else ' not'}.",
        f"Tokens are put at the mean of {facts['mean']}, at the projector's output.",
        f"Random tokens are drawn from all patches, {excluded}. Gradients explain the {_target(options)}.",
        *([f"Counts above the {facts['n_patches']} patches of the grid are left out: {left_out}."] if left_out else []),
        *([f"Counts are of 576 patches and scaled to {facts['n_patches']}."] if scaled else []),
        *(f"{word!r} is read by its first piece: {pieces}." for word, pieces in facts["split"].items()),
        *([] if VQA in set(cells.get("task", ())) else ["No picture has a question that its object answers: no VQA."]),
    )


def _target(options: ObjectAblationOptions) -> str:
    return "token that the answer Yes begins with" if options.gradient_target == "answer" else "first id of 'Yes'"
