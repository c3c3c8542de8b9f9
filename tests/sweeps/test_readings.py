"""Whatever is read of a condition is what a run of its own gives."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.model.tiny_vlms import padded_on_the_right, tiny_inputs, tiny_vlm
from tests.recompute.held_to_runs import assert_near
from tests.sweeps.scene import bundled, cat, conditions, question
from vlm_lens import (
    ActivationPatching,
    AttentionFlow,
    AttentionKnockout,
    Generated,
    Grid,
    LogitDifference,
    LogitLens,
    Logits,
    LogProbability,
    Probability,
    Steer,
    ZeroAblation,
)
from vlm_lens.errors import EmptySelectionError, InputError
from vlm_lens.probes.patching.answer_metrics import AnswerMetric, last_logits

METRICS = (Probability(" Yes"), LogProbability(" No"), LogitDifference(" Yes", " No"))


def measured() -> ActivationPatching:
    source = bundled().run(question(), names_filter="blocks.0.hook_resid_pre")
    return ActivationPatching(source, Probability(" Yes"), ["last"], layers=[0], shows_progress=False)


def swept(*args: Any, **options: Any) -> Any:
    return bundled().sweep(question(), *args, shows_progress=False, **options)


def test_logits_of_the_last_position_are_read_by_default() -> None:
    results = swept(conditions())
    for cell in results:
        assert_near(cell.logits, bundled().run(question(), *cell.condition.objects).logits[:, -1], cell.name)
    assert_near(results.clean.logits, bundled().run(question()).logits[:, -1], "clean")
    assert results.logits.shape == (8, 1, bundled().cfg.d_vocab) and results.names == tuple(conditions())


def test_a_grid_gives_what_its_cells_give() -> None:
    sources = {"cat": cat(), "picture": "image", "words": "question"}
    grid = Grid(
        {"start": range(5), "source": sources},
        lambda start, source: AttentionKnockout("last", source, layers=range(start, start + 2)),
    )
    results = swept(grid)
    for start in range(5):
        for source, keys in sources.items():
            alone = bundled().run(question(), AttentionKnockout("last", keys, layers=range(start, start + 2)))
            assert_near(results.at(start=start, source=source).logits, alone.logits[:, -1], f"{start}, {source}")


@pytest.mark.parametrize("positions", ["all", "question", [0, 150], "cat"])
def test_logits_of_other_positions_are_read_where_asked_for(positions: Any) -> None:
    positions = cat() if positions == "cat" else positions
    rows = question().layout.positions(positions)
    results = swept(conditions(), Logits(positions))
    assert results.positions == rows
    for cell in results:
        assert_near(cell.logits, bundled().run(question(), *cell.condition.objects).logits[:, list(rows)], cell.name)


@pytest.mark.parametrize("read", [METRICS, ("logits", *METRICS), (Logits("question"), *METRICS)])
def test_metrics_are_of_the_last_position_whatever_else_is_read(read: Any) -> None:
    results = swept(conditions(), read)
    for cell in results:
        logits = bundled().run(question(), *cell.condition.objects).logits[:, -1]
        for metric in METRICS:
            expected = metric.values(logits, metric.answers(bundled(), 1))
            torch.testing.assert_close(cell.values[repr(metric)], expected, rtol=1e-4, atol=1e-6)
    assert (results.clean.logits is None) == (read is METRICS)


def test_probes_find_under_each_condition_what_they_find_alone() -> None:
    lens, flow = LogitLens(positions=cat()), AttentionFlow("last")
    results = swept(conditions(), (lens, flow))
    assert results.clean.logits is None
    for cell in (*results, results.clean):
        alone = bundled().run(question(), *cell.condition.objects, lens, flow)
        for probe in (lens, flow):
            table, expected = cell[probe].to_dataframe(), alone[probe].to_dataframe()
            assert list(table) == list(expected) and len(table) == len(expected)
            for column in expected.select_dtypes("float"):
                np.testing.assert_allclose(table[column], expected[column], rtol=1e-3, atol=1e-5)


def test_conditions_may_have_probes_of_their_own() -> None:
    lens = LogitLens(positions="last")
    hidden = AttentionKnockout("last", "image", layers=range(6))
    results = swept({"lens": lens, "hidden": [hidden, lens]}, None)
    for name, objects in {"lens": (lens,), "hidden": (hidden, lens)}.items():
        found = results[name][lens].to_dataframe()
        expected = bundled().run(question(), *objects)[lens].to_dataframe()
        for column in expected.select_dtypes("float"):
            np.testing.assert_allclose(found[column], expected[column], rtol=1e-3, atol=1e-5)
    assert not results["lens"][lens].to_dataframe().equals(results["hidden"][lens].to_dataframe())


def test_a_measure_in_a_condition_is_run_by_itself() -> None:
    measure = measured()
    results = swept({"measured": measure}, "logits")
    assert results.plan.lines[0].way == "by itself" and "runs the model again" in results.plan.lines[0].why
    assert results["measured"][measure] is not None


def test_generated_text_is_that_of_a_generation_by_itself() -> None:
    results = swept(conditions(), Generated(5))
    for cell in (*results, results.clean):
        alone = bundled().generate(question(), *cell.condition.objects, max_new_tokens=5)
        assert cell.text == alone.text and torch.equal(cell.generation.tokens, alone.tokens)
        assert_near(cell.generation.logits, alone.logits, cell.name)
    assert len({cell.text for cell in results}) > 1


def test_a_probe_follows_a_generation() -> None:
    lens = LogitLens(positions="predicting")
    hidden = AttentionKnockout("predicting", "image", layers=range(6))
    results = swept({"hidden": hidden}, (Generated(4), lens))
    alone = bundled().generate(question(), hidden, lens, max_new_tokens=4)
    assert_near(results["hidden"][lens], alone[lens], "lens")


def test_each_condition_draws_as_it_does_by_itself() -> None:
    read = Generated(4, sampling={"do_sample": True, "temperature": 3.0, "seed": 5}, eos_token_id=())
    for cell in swept(conditions(), read):
        alone = bundled().generate(question(), *cell.condition.objects, **read.options)
        assert torch.equal(cell.generation.tokens, alone.tokens)


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_row_of_a_batch_is_read_at_its_own_last_position(side: str) -> None:
    vlm = tiny_vlm()
    given: Any = tiny_inputs(vlm)
    inputs = vlm.as_inputs(padded_on_the_right(given)) if side == "right" else given
    conditions: dict[str, Any] = {
        "hidden": AttentionKnockout("last", "image", layers=[1]),
        "steered": Steer(torch.ones(24), "blocks.0.hook_resid_post", "last"),
        "ablated": ZeroAblation("image"),
    }
    metric: AnswerMetric = Probability({0: 3, 1: 5})
    results = vlm.sweep(inputs, conditions, ["logits", metric], shows_progress=False)
    for name, one in conditions.items():
        alone = last_logits(vlm.run(inputs, one).logits, inputs.layout)
        assert_near(results[name].logits, alone, name)
        torch.testing.assert_close(results[name].values[repr(metric)], metric.values(alone, metric.answers(vlm, 2)))
    assert list(results.to_dataframe()["row"]) == [0, 1] * 3


def test_positions_of_some_rows_are_told_of_these_rows() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    results = vlm.sweep(inputs, [ZeroAblation("image")], Logits("question"), shows_progress=False)
    frame = results.to_dataframe()
    for row in range(2):
        assert tuple(frame[frame["row"] == row]["position"]) == inputs.layout.positions("question", row)


def test_text_alone_and_plain_tokens_can_be_swept() -> None:
    vlm = bundled()
    conditions = {"hidden": AttentionKnockout("last", [1, 2], layers=[1, 2])}
    for given in ("What is a cat?", torch.tensor([[1, 20, 30, 40]])):
        results = vlm.sweep(given, conditions, shows_progress=False)
        assert_near(results[0].logits, vlm.run(given, conditions["hidden"]).logits[:, -1], "text")


@pytest.mark.parametrize(
    ("read", "message"),
    [
        ("logit", "expected 'logits', Logits.positions., .*, got 'logit'. None reads what"),
        (["logits", "logits"], "logits, text and each probe once"),
        (["logits", Generated(3)], "logits and metrics, or Generated"),
        ([Generated(3), Probability(" Yes")], "logits and metrics, or Generated"),
        ([Generated(3), Generated(4)], "each probe once"),
        (AttentionKnockout("last", "image"), "got AttentionKnockout"),
        (None, "expected something that is kept: .* got None, and conditions without a probe"),
        ([], "expected something that is kept"),
        (Probability(" two words of it"), "Yes|token"),
    ],
)
def test_readings_that_make_no_sense_are_refused(read: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        swept([ZeroAblation("image")], read)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "a number, at least 1, got 0"),
        ({"sampling": {"warmth": 1}}, "a mapping with do_sample, temperature, top_k, top_p, seed, got"),
        ({"sampling": {"temperature": 2.0}}, "temperature without sampling"),
    ],
)
def test_generations_that_make_no_sense_are_refused(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Generated(**options)


@pytest.mark.parametrize("positions", [[], "generated", "newline"])
def test_logits_of_no_position_are_refused(positions: Any) -> None:
    with pytest.raises(EmptySelectionError, match="expected positions that these inputs have, got none"):
        swept([ZeroAblation("image")], Logits(positions))


def test_no_measure_stands_in_a_generation() -> None:
    measure = measured()
    with pytest.raises(InputError, match="Condition 'measured': expected no measure where text is generated"):
        swept({"measured": measure}, Generated(3))
