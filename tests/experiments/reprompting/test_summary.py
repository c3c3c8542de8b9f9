"""Table 1 from constructed answers: the paper's rows and columns, figures by hand, claims decided by intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from vlm_lens.data.mme import PERCEPTION
from vlm_lens.errors import InputError
from vlm_lens.experiments.reprompting import Reprompting
from vlm_lens.experiments.reprompting.methods import DESCRIBE, NAIVE, QUERY
from vlm_lens.experiments.reprompting.table_one import ACC, ACC_PLUS, average_difference, averages, by_task, scored
from vlm_lens.experiments.summary import Summary
from vlm_lens.metrics.yes_no import yes_no_scores

EXPERIMENT = Reprompting()
FACTS = {"n_layers": 2, "n_image_tokens": 144, "n_kept": {"0.05": 7, "0.02": 2}, "language_model": None,
         "template": "chat"}  # fmt: skip
BOTH, FEW, ALONE = f"{QUERY} + K=5%", f"{QUERY} + K=2%", "K=2%"
LENGTHS = {NAIVE: (0, 600), BOTH: (40, 20), FEW: (23, 20), QUERY: (12, 20), ALONE: (11, 20), DESCRIBE: (0, 90)}


def answers(right: Mapping[str, Mapping[str, Sequence[tuple[bool, bool]]]]) -> pd.DataFrame:
    """Rows from whether both questions of each picture are right, by method and task."""
    return pd.DataFrame(
        [
            {"example": f"{task}/{picture}", "task": task, "question": f"{number}?", "answer": "Yes", "method": method,
             "said": "Yes", "says": "yes" if is_right else None, "is_right": is_right,
             "n_held": LENGTHS[method][0], "n_new": LENGTHS[method][1]}
            for method, tasks in right.items()
            for task, pictures in tasks.items()
            for picture, pair in enumerate(pictures)
            for number, is_right in enumerate(pair)
        ]
    )  # fmt: skip


def summary_of(rows: pd.DataFrame, **options: object) -> Summary:
    pictures = rows[["example"]].drop_duplicates().assign(description="A cat.")
    frames = {"answers": rows, "descriptions": pictures}
    return EXPERIMENT.summarised(frames, EXPERIMENT.Options().but(**options), FACTS)


YY, YN, NN = (True, True), (True, False), (False, False)


def test_the_table_has_the_papers_rows_and_columns() -> None:
    every = {task: [YY, YN] for task in reversed(PERCEPTION)}
    layout = summary_of(answers(dict.fromkeys(LENGTHS, every))).tables["table 1"].layout
    assert layout.index.tolist() == [NAIVE, DESCRIBE, BOTH, FEW, QUERY, ALONE]
    tasks = ["Existence", "Count", "Position", "Color", "OCR", "Poster", "Celebrity", "Artwork", "Scene", "Landmark"]
    pairs = [(task, measure) for task in [*tasks, "Average"] for measure in (ACC, ACC_PLUS)]
    assert layout.columns.tolist() == [*pairs, ("Reprompt", "#Tokens")]
    assert layout[("Reprompt", "#Tokens")].tolist() == ["600", "90", "60", "43", "32", "31"]


def test_a_method_that_was_not_run_has_dashes_and_a_note() -> None:
    summary = summary_of(answers({NAIVE: {"existence": [YY]}, QUERY: {"existence": [YN]}}))
    layout = summary.tables["table 1"].layout
    assert (layout.loc[DESCRIBE] == "-").all() and layout.loc[QUERY, ("Existence", ACC)] == "50.00"
    assert any("Describe-to-LLM was not run" in note for note in summary.notes)


def test_figures_are_those_computed_by_hand_and_averages_weigh_tasks_alike() -> None:
    scores = scored(answers({NAIVE: {"existence": [YY, YN, NN], "count": [YY]}}))
    found = by_task(scores).set_index(["task", "measure"])
    assert found["value"].to_dict() == {
        ("existence", ACC): 0.5, ("existence", ACC_PLUS): pytest.approx(1 / 3),
        ("count", ACC): 1.0, ("count", ACC_PLUS): 1.0,
    }  # fmt: skip
    assert found["n"].to_dict()["existence", ACC] == 3
    over = averages(scores).set_index("measure")
    assert over["value"].to_dict() == {ACC: pytest.approx(0.75), ACC_PLUS: pytest.approx(2 / 3)}


def test_figures_of_a_task_equal_those_of_the_metric() -> None:
    random = np.random.default_rng(0)
    pictures = [(bool(one), bool(other)) for one, other in random.random((20, 2)) < 0.7]
    scores = scored(answers({NAIVE: {"existence": pictures}}))
    metric = yes_no_scores([n for n in range(20) for _ in range(2)], [one for pair in pictures for one in pair])
    for table in (by_task(scores), averages(scores)):
        values = table.set_index("measure")["value"]
        assert (values[ACC], values[ACC_PLUS]) == (pytest.approx(metric.accuracy), pytest.approx(metric.accuracy_plus))


def test_the_interval_of_an_average_is_that_of_a_loop_over_drawn_pictures() -> None:
    right = {"existence": [YY, YN, NN, YY, YN], "count": [YY, NN, NN]}
    found = averages(scored(answers({NAIVE: right}))).set_index("measure").loc[ACC]
    shares = [(sum(pair) / 2, len(pictures)) for pictures in right.values() for pair in pictures]
    random, loop = np.random.default_rng(3), []
    for _ in range(4000):
        drawn = [shares[place] for place in random.integers(0, 8, 8)]
        # Weighed by task as the figure is, with the weights that the tasks have over all pictures.
        loop.append(sum(share / size for share, size in drawn) / sum(1 / size for _, size in drawn))
    assert (found["low"], found["high"]) == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=0.02)


def test_a_difference_of_averages_is_paired_by_picture() -> None:
    naive = {"existence": [YY, YY, YN], "count": [YY, NN]}
    worse = {"existence": [YN, YN, NN], "count": [YN, NN]}
    found = average_difference(scored(answers({NAIVE: naive, BOTH: worse})), BOTH, NAIVE)
    assert found is not None and found.value == pytest.approx(-(0.5 + 0.25) / 2)
    same = average_difference(scored(answers({NAIVE: naive, BOTH: naive})), BOTH, NAIVE)
    assert same is not None and (same.value, same.low, same.high) == (0, 0, 0)
    assert average_difference(scored(answers({NAIVE: naive})), BOTH, NAIVE) is None


def agreements(summary: Summary) -> dict[str, bool | None]:
    keys = {"loses little": "loss", "an eighth": "tokens", "the text alone": "both", "reads the description": "llm"}
    return {short: one.agrees for one in summary.findings for key, short in keys.items() if key in one.claim}


def test_claims_agree_where_the_whole_interval_says_so_and_not_where_it_says_the_contrary() -> None:
    good, chance = [YY] * 70, [YN] * 70
    like_paper = {NAIVE: good, DESCRIBE: chance, BOTH: good, FEW: good, QUERY: chance, ALONE: chance}
    agreeing = summary_of(answers({name: {"existence": found} for name, found in like_paper.items()}), llm="chat:m")
    assert agreements(agreeing) == {"loss": True, "tokens": True, "both": True, "llm": True}
    contrary = {**like_paper, DESCRIBE: good, BOTH: chance, FEW: chance}
    found = agreements(summary_of(answers({k: {"existence": v} for k, v in contrary.items()}), llm="chat:m"))
    assert found == {"loss": False, "tokens": True, "both": False, "llm": False}


def test_a_few_pictures_that_all_agree_decide_nothing() -> None:
    few = {name: {"existence": [YY] * 3} for name in (NAIVE, DESCRIBE, BOTH)}
    assert agreements(summary_of(answers(few), llm="chat:m")) == {"loss": None, "tokens": True, "llm": None}


def test_claims_that_pictures_cannot_decide_are_left_open() -> None:
    right = {NAIVE: [YY] * 8, BOTH: [YY] * 7 + [NN], FEW: [YY] * 7 + [NN], QUERY: [YY] * 6 + [NN] * 2, ALONE: [NN] * 8,
             DESCRIBE: [YY] * 6 + [YN, YY]}  # fmt: skip
    found = agreements(summary_of(answers({k: {"existence": v} for k, v in right.items()}), llm="chat:m"))
    assert found["loss"] is None and found["both"] is None and found["llm"] is None


def test_the_models_own_decoder_decides_nothing_about_large_language_models() -> None:
    rows = answers({NAIVE: {"count": [YY] * 9}, BOTH: {"count": [YY] * 9}, DESCRIBE: {"count": [NN] * 9}})
    summary = summary_of(rows, llm="self")
    assert agreements(summary)["llm"] is None
    assert any("without a picture" in note for note in summary.notes)


def test_answers_that_say_neither_are_counted_in_the_notes() -> None:
    summary = summary_of(answers({NAIVE: {"count": [YN, NN]}}))
    assert any("neither yes nor no count as wrong: Naive 3" in note for note in summary.notes)


def test_no_answer_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        summary_of(answers({NAIVE: {"count": [YY]}}).iloc[:0])
