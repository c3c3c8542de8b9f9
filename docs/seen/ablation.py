"""The object's patches against as many others, put out at the projector's output."""

from collections import defaultdict

import pandas as pd
import plotly.graph_objects as go
from tqdm.auto import tqdm

from docs.seen.questions import ON, PRESENCE, QUESTIONS, Batch, answered, n_batches, prepared, questions
from docs.seen.rows import curves, figure_at, mean_of_shares, row, table
from vlm_lens import (
    ActivationCache,
    HookedVLM,
    Mean,
    MeanAblation,
    MeanEstimator,
    NoiseAblation,
    RegisterTokens,
    ResampleAblation,
    Writer,
    ZeroAblation,
)
from vlm_lens.demo.evaluation.intervals import share
from vlm_lens.demo.scenes import draw_scene
from vlm_lens.plotting import interval_bars

NAME, TITLE = "ablation", "Where what it knows of an object stands"
N_FOR_THE_MEAN, N_OTHERS = 100, 16
FIRST_OTHER = 9_800_000
"""Pictures that means and vectors are taken from; none of them is asked about."""


def measure(n: int, bar: tqdm) -> pd.DataFrame:
    """Columns: question, condition, patches (mean), of ("probability" or "right"), value, low, high, n."""
    vlm = HookedVLM.demo()
    pictures = [draw_scene(FIRST_OTHER + seed, "heldout").image for seed in range(N_FOR_THE_MEAN)]
    mean = MeanEstimator(vlm).estimate(pictures, shows_progress=False)
    others = vlm.prepare(pictures[:N_OTHERS], ["What?"] * N_OTHERS)
    pool = vlm.run_with_cache(others, names_filter="projector.hook_out")[1]
    bar.reset(total=2 * n_batches(n))
    rows = []
    for question in QUESTIONS:
        found, n_patches = defaultdict(lambda: defaultdict(list)), defaultdict(list)
        for batch in prepared(vlm, questions(vlm, question, n)):
            for name, (writers, counts) in conditions(vlm, batch, mean, pool).items():
                n_patches[name] += counts
                for of, values in answered(vlm, batch, question, writers).items():
                    found[name][of] += values.tolist()
            bar.update()
        for name, values in found.items():
            names = {"question": question, "condition": name, "patches": sum(n_patches[name]) / n}
            rows.append(row(mean_of_shares(values["probability"]), **names, of="probability"))
            rows.append(row(share(sum(values["is_right"]), n), **names, of="right"))
    return pd.DataFrame(rows)


def conditions(
    vlm: HookedVLM, batch: Batch, mean: Mean, pool: ActivationCache
) -> dict[str, tuple[list[Writer], list[int]]]:
    """For each condition what is attached, and how many patches that replaces in each picture."""
    registers = RegisterTokens()
    outliers = vlm.run(batch.inputs, registers)[registers].regions
    twice = [region.dilate(2) for region in batch.subjects]
    found = {
        "nothing": ([], []),
        "object": (MeanAblation(batch.subjects, mean), batch.subjects),
        "object + 1": (MeanAblation(batch.grown, mean), batch.grown),
        "object + 2": (MeanAblation(twice, mean), twice),
        "the whole picture": (MeanAblation("image", mean), [~region | region for region in batch.subjects]),
        "random, as many as object + 1": (MeanAblation(batch.random, mean), batch.random),
        "register tokens": (MeanAblation(outliers, mean, on_empty="skip"), outliers),
        "object + 1 at zero": (ZeroAblation(batch.grown), batch.grown),
        "object + 1, noise of each vector's length": (NoiseAblation(batch.grown), batch.grown),
        "object + 1, noise like the data set": (NoiseAblation(batch.grown, like=mean), batch.grown),
        "object + 1, patches of other pictures": (ResampleAblation(batch.grown, pool), batch.grown),
        "random, patches of other pictures": (ResampleAblation(batch.random, pool), batch.random),
    }
    return {
        name: ([writer] if isinstance(writer, Writer) else [], [len(region) for region in regions])
        for name, (writer, regions) in found.items()
    }


def figure(rows: pd.DataFrame) -> go.Figure:
    """P(right) under each condition, for both questions."""
    chosen = rows[rows["of"] == "probability"]
    return interval_bars(list(chosen["condition"].unique()), curves(chosen, "condition", "question"),
                                x_title="P(right answer)")  # fmt: skip


def text(rows: pd.DataFrame) -> str:
    """The section."""
    names = {"probability": "P(right)", "right": "share right"}
    columns = [f"{question} {names[of]}" for question, of in zip(rows["question"], rows["of"], strict=True)]
    patches = rows[rows["question"] == PRESENCE].groupby("condition", sort=False)["patches"].first()
    lined = rows.assign(column=columns, line=[f"{one} ({patches[one]:.3g})" for one in rows["condition"]])

    def p(condition: str, question: str = PRESENCE) -> str:
        return figure_at(rows, question=question, condition=condition, of="probability")

    return f"""\
Do the patches that saw an object hold what the model says of it? Replace them where the picture enters the decoder,
and ask.

```python
from vlm_lens import MeanAblation, MeanEstimator

others = [draw_scene(seed, "heldout").image for seed in range(16)]
mean = MeanEstimator(vlm).estimate(others, shows_progress=False)
near = cat.dilate(1)
elsewhere = (~near).sample(len(near), seed=0)
with_the_object_gone = vlm.run(inputs, MeanAblation(near, mean))
with_as_many_others_gone = vlm.run(inputs, MeanAblation(elsewhere, mean))
```

"{PRESENCE}" asks for an object that is there; Yes is taken among Yes and No. "{ON}" asks for an object on a
surface, behind "It is a", and its kind is taken among all tokens. `object + 1` has the neighbouring patches too; the
mean is over 100 other pictures. In brackets stand the patches replaced, of 144, as a mean over the first question's
pictures.

{table(lined, "line", "column", "replaced")}

Without the object's own patches P(right) is {p("object")} and {p("object", ON)};
without as many random ones as object + 1 have, {p("random, as many as object + 1")} and
{p("random, as many as object + 1", ON)}. So what this model says of an object stands where the object stands. It
does not follow that it then knows the object to be gone: with the whole picture at the mean it says Yes with
{p("the whole picture")}, so a No may be what is left when nothing is known. The second question has no such
way out: without any picture it is answered with {p("the whole picture", ON)}. Patches of other
pictures bring other objects along, now and then of the kind that is asked for. Register tokens (norm above the mean by
more than two standard deviations at the projector's output) hardly occur in this model
({patches["register tokens"]:.2f} a picture), so nothing follows from them here.
"""
