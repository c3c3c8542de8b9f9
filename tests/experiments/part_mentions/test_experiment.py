"""Counts of mentions: by hand and by a naive loop, intervals over examples, the layout of figure 7, the correlation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.experiments.described_scenes import demo
from vlm_lens.data import Dataset, Example, read_scenes
from vlm_lens.data.caption_file import read_captions
from vlm_lens.errors import InputError
from vlm_lens.experiments import run_experiment
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.part_mentions import PartMentions
from vlm_lens.experiments.part_mentions.correlation import paired, rank_correlation, scores_of
from vlm_lens.experiments.part_mentions.summary import ANY, finding_of
from vlm_lens.experiments.part_mentions.totals import total_over_examples
from vlm_lens.experiments.summary import Summary
from vlm_lens.metrics.intervals import mean_over_pictures

EXPERIMENT = PartMentions()
CAPTIONS = (
    ("A dog's legs.", "Two puppies with long ears, and a cat."),
    ("A cat without a tail!", "Nothing here."),
    ("The tail of the plane.",),
    ("A street.",),
)


def told(*captions: tuple[str, ...]) -> Dataset:
    def no_picture() -> Any:
        raise AssertionError("no picture is read")

    examples = tuple(Example(str(n), no_picture, captions=one) for n, one in enumerate(captions))
    return Dataset("told", "0", examples)


def context_of(data: Dataset, **options: Any) -> Context:
    chosen = EXPERIMENT.Options().but(**options)
    return Context(demo(), EXPERIMENT.chosen(data, chosen), chosen, 0, Path("nowhere"), shows_progress=False)


def frames(context: Context) -> dict[str, pd.DataFrame]:
    rows = EXPERIMENT.rows(context, context.data)
    return {name: pd.DataFrame(found) for name, found in rows.items() if found}


def summary_of(context: Context, **facts: Any) -> Summary:
    return EXPERIMENT.summarised(frames(context), context.options, {**EXPERIMENT.facts(context), **facts})


def counts_of(summary: Summary) -> dict[tuple[str, str], float]:
    tidy = summary.tables["figure 7"].tidy
    return {(row.part, row.object): row.value for row in tidy.itertuples() if row.value}


def test_a_hand_counted_case() -> None:
    # The first example has two texts: dog and leg in one; dog (puppies), ear and cat in the other.
    assert counts_of(summary_of(context_of(told(*CAPTIONS)))) == {
        ("leg", "dog"): 1, ("leg", ANY): 1, ("ear", "dog"): 1, ("ear", "cat"): 1, ("ear", ANY): 1,
        ("tail", "cat"): 1, ("tail", ANY): 2,
    }  # fmt: skip


def test_without_expansion_names_alone_count_in_whatever_form() -> None:
    found = counts_of(summary_of(context_of(told(*CAPTIONS), expands=False)))
    assert ("ear", "dog") not in found and found["leg", "dog"] == 1  # no puppies, but legs


def test_words_of_ones_own_take_the_place_of_those_that_ship(tmp_path: Path) -> None:
    file = tmp_path / "words.json"
    file.write_text(json.dumps({"parts": {"tail": {"synonyms": ["street"]}}, "objects": {}}))
    context = context_of(told(*CAPTIONS), words=str(file))
    assert counts_of(summary_of(context))["tail", ANY] == 3
    assert any(str(file) in note for note in summary_of(context).notes)


def test_the_layout_has_objects_as_columns_parts_as_rows_and_parts_alone_last() -> None:
    summary = summary_of(context_of(told(*CAPTIONS)))
    layout = summary.tables["figure 7"].layout
    assert layout.columns.tolist() == ["bird", "cat", "cow", "dog", "horse", "person", "sheep", ANY]
    assert layout.index.tolist() == sorted(layout.index) and {"beak", "hoof", "wing"} <= set(layout.index)
    assert layout.loc["beak"].tolist() == ["0", "-", "-", "-", "-", "-", "-", "0"]
    (figure,) = (draw() for draw in summary.figures.values())
    heat, bars = figure.data
    assert list(heat.x) == layout.columns.tolist()[:-1] and list(heat.y) == list(bars.y) == layout.index.tolist()
    assert list(bars.x) == [float(count) for count in layout[ANY]]


def test_shards_of_any_size_and_order_find_the_same() -> None:
    context = context_of(read_scenes(12))
    whole = frames(context)["mentions"]
    parts = [pd.DataFrame(EXPERIMENT.rows(context, [one])["mentions"]) for one in reversed(context.data)]
    key = ["example", "kind", "object", "part"]
    pd.testing.assert_frame_equal(
        whole.sort_values(key, ignore_index=True), pd.concat(parts).sort_values(key, ignore_index=True)
    )


def test_the_parts_of_the_data_are_those_that_are_drawn() -> None:
    context = context_of(read_scenes(6), parts_of="data")
    parts = EXPERIMENT.facts(context)["parts"]
    assert parts["ball"] == ["stripe"]
    found = counts_of(summary_of(context))
    with_stripes = sum("stripe" in one.captions[0] for one in context.data)
    assert found["stripe", ANY] == with_stripes > 0


def test_files_of_captions_take_the_place_of_the_data(tmp_path: Path) -> None:
    for number, text in enumerate(("A cat's ear.\n", "A dog's ear.\nA cat's ear.\n")):
        (tmp_path / f"{number}.txt").write_text(text)
    files = [str(tmp_path / f"{number}.txt") for number in range(2)]
    one, both = (context_of(read_scenes(1), captions=files[:n]) for n in (1, 2))
    assert one.data.fingerprint == read_captions(files[0]).fingerprint != both.data.fingerprint
    assert [example.id for example in both.data] == ["0/1", "1/1", "1/2"]
    assert counts_of(summary_of(both)) == {("ear", "cat"): 2, ("ear", "dog"): 1, ("ear", ANY): 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts_of": "wordnet"}, "'paper' or 'data'"),
        ({"parts_of": "data", "captions": ["x.txt"]}, "with files of captions"),
        ({"captions": ["/no/such/file.txt"]}, "none at"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        context_of(told(*CAPTIONS), **options)


def test_data_without_captions_or_without_parts_are_refused() -> None:
    with pytest.raises(InputError, match="at least one example"):
        context_of(told((), ())).data.some()
    with pytest.raises(InputError, match="objects with parts"):
        EXPERIMENT.facts(context_of(told(*CAPTIONS), parts_of="data"))


def test_the_interval_of_a_total_is_that_of_a_bootstrap_over_all_examples() -> None:
    counts = pd.Series([1, 1, 2, 1, 3, 1, 1, 5])
    found = total_over_examples(counts, 60)
    padded = np.zeros(60)
    padded[: len(counts)] = counts
    slow = mean_over_pictures(padded, is_binary=False)
    assert (found.value, found.n) == (15, 60) and found.value == pytest.approx(60 * slow.value)
    assert (found.low, found.high) == pytest.approx((60 * slow.low, 60 * slow.high), abs=1.0)


def test_a_total_of_nothing_has_an_upper_end_and_one_example_has_no_interval() -> None:
    none = total_over_examples(pd.Series(dtype=int), 50)
    assert (none.value, none.low) == (0, 0) and none.high == pytest.approx(50 * 3.8415 / 53.8415, abs=1e-3)  # Wilson
    assert np.isnan(total_over_examples(pd.Series([2]), 1).low)


def test_the_correlation_is_that_of_scipy_and_its_interval_that_of_a_loop() -> None:
    random = np.random.default_rng(0)
    one = random.normal(size=25)
    other = one + random.normal(size=25)
    found = rank_correlation(one, other)
    assert found is not None and found.value == pytest.approx(stats.spearmanr(one, other).statistic)
    loop = stats.bootstrap(
        (one, other), lambda a, b: stats.spearmanr(a, b).statistic, paired=True, vectorized=False, n_resamples=1000,
        method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx((loop.low, loop.high), abs=0.06)
    assert rank_correlation(one[:3], other[:3]) is None
    assert rank_correlation(np.ones(25), other) is None


def scores(sign: float) -> dict[str, dict[str, list[float]]]:
    """Scores that rise, or fall, with the counts of `named_often`."""
    parts = ["ear", "eye", "head", "leg", "neck", "nose", "paw", "tail", "torso"]
    return {"cat": {part: [0.5 + sign * place / 20, sign * place / 20] for place, part in enumerate(parts)}}


def named_often() -> Dataset:
    """Of the cat's parts each is named once more than the one before it."""
    parts = list(scores(1)["cat"])
    return told(*((f"A cat's {part}.",) for place, part in enumerate(parts) for _ in range(place + 1)))


@pytest.mark.parametrize(("found", "agrees"), [(scores(1), False), (scores(-1), False), (scores(0), None)])
def test_what_goes_with_frequency_contradicts_the_paper(found: dict[str, Any], agrees: bool | None) -> None:
    summary = summary_of(context_of(named_often()), scores=found)
    (finding,) = summary.findings
    assert finding.agrees is agrees
    assert summary.tables["correlation"].layout.columns.tolist() == ["OPI", "OPI above chance"]
    assert list(summary.figures) == ["figure 7", "correlation"] and summary.figures["correlation"]().data


def test_few_scores_without_order_decide_nothing() -> None:
    mixed = scores(1)
    values = np.array(list(mixed["cat"].values()))[[4, 0, 8, 2, 6, 1, 7, 3, 5]]
    summary = summary_of(
        context_of(named_often()), scores={"cat": dict(zip(mixed["cat"], values.tolist(), strict=True))}
    )
    assert summary.findings[0].agrees is None


@pytest.mark.parametrize(("n", "agrees"), [(12, None), (400, True)])
def test_many_scores_without_order_agree_with_the_paper(n: int, agrees: bool | None) -> None:
    random = np.random.default_rng(0)
    both = pd.DataFrame({"count": random.permutation(n), "score": random.normal(size=n)})
    assert finding_of(both).agrees is agrees


def test_parts_without_a_score_are_left_out_of_the_pairs() -> None:
    counts = summary_of(context_of(told(*CAPTIONS))).tables["figure 7"].tidy
    found = paired(counts, ANY, {"dog": {"leg": [0.5, 0.1]}, "boat": {"hull": [0.9, 0.1]}})
    assert found.to_dict("records") == [
        {"object": "dog", "part": "leg", "count": 1.0, "part_count": 1.0, "score": 0.5, "above": 0.1}
    ]


def test_scores_come_from_a_finished_run_and_no_other(tmp_path: Path) -> None:
    run = run_experiment(
        "part-identification", data="scenes,n=6", out=tmp_path / "opi", shows_progress=False, settings="none",
        filters_captions=False, least_share=0.01, null_of="baseline",
    )  # fmt: skip
    found = scores_of(str(tmp_path / "opi"))
    rows = run.rows["scores"]
    last = rows[(rows["layer"] == rows["layer"].max()) & (rows["setting"] == "No AK")].dropna(subset=["score"])
    for (category, part), group in last.groupby(["class", "part"]):
        assert found[str(category)][str(part)][0] == pytest.approx(group["score"].mean())
    assert found
    with pytest.raises(InputError, match="spec"):
        scores_of(str(tmp_path))
