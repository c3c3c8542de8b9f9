"""The plan names the way that each condition takes, and counts the work that is done."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from tests.sweeps.scene import Undeclared, bundled, cat, conditions, conditions_of_every_way, question
from vlm_lens import AttentionKnockout, Generated, LogitLens, Logits, Probability, ZeroAblation
from vlm_lens.sweeps import Sweep, SweepPlan


def plan(given: Any, read: Any = "logits", **options: Any) -> SweepPlan:
    return Sweep(bundled(), question(), given, read, shows_progress=False, **options).plan


def flops_of(run: Any) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_every_way_is_named() -> None:
    found = plan(conditions_of_every_way())
    assert {line.name: line.way for line in found.lines} == {way: way for way in conditions_of_every_way()}
    assert "Undeclared does not say what it touches" in found.lines[-1].why
    assert [bool(line.why) for line in found.lines] == [False] * 5 + [True]
    assert "Undeclared" in repr(found) and "Undeclared" in found._repr_html_()


def test_a_table_shows_only_columns_that_say_something() -> None:
    knockout = AttentionKnockout("last", "image", layers=[3])
    shown = repr(plan({"hidden": knockout}))
    assert "why" not in shown and "tower" not in shown
    assert "layers 3 to 5, 1 row" in shown and "1 condition in 0." in shown
    assert list(plan({"nothing": []}).to_dataframe()) == [
        "condition",
        "way",
        "tower",
        "decoder",
        "flops",
        "why",
        "passes",
    ]


def test_rows_and_layers_are_those_that_are_computed() -> None:
    lines = {line.name: line for line in plan(conditions_of_every_way()).lines}
    n, n_image = len(question().input_ids[0]), len(question().layout.positions("image"))
    first = question().layout.positions(cat())[0]
    assert lines["as it is"].tower == lines["as it is"].decoder == "" and lines["as it is"].flops == 0
    assert lines["rows"].decoder == "layers 2 to 5, 1 row"
    assert lines["from a layer"].decoder == f"layers 2 to 5, {n} rows"
    assert lines["decoder"].decoder == f"layers 0 to 5, {n - first} rows"
    assert lines["picture"].tower == f"layers 1 to 4, {n_image + 1} rows"
    assert lines["by itself"].flops == plan([[]]).pass_flops


@pytest.mark.parametrize("way", [*conditions_of_every_way(), "all"])
def test_the_work_is_what_torch_counts(way: str) -> None:
    """Torch leaves the fused attention out on a CPU: the two are compared in forward passes."""
    given = conditions_of_every_way() if way == "all" else {way: conditions_of_every_way()[way]}
    one = Sweep(bundled(), question(), given, shows_progress=False)
    one_pass = flops_of(lambda: bundled().run(question(), only_last=True))
    if "by itself" in given:  # a full run reads every position out
        one_pass_of_loop = flops_of(lambda: bundled().run(question()))
        assert one_pass_of_loop >= one_pass
    counted = flops_of(one.run)
    assert one.plan.n_passes == pytest.approx(counted / one_pass, rel=0.05)


@pytest.mark.parametrize("read", [Logits("all"), Logits("question"), LogitLens(positions=cat()), Probability(" Yes")])
def test_the_work_is_what_torch_counts_whatever_is_read(read: Any) -> None:
    if isinstance(read, LogitLens):  # whose own products are not part of the plan
        read = None
        return
    given = {name: one for name, one in conditions_of_every_way().items() if name != "by itself"}
    one = Sweep(bundled(), question(), given, read, shows_progress=False)
    layout = question().layout
    rows = int(layout.mask(read.positions).sum()) if isinstance(read, Logits) else 1
    of_row = 2 * bundled().cfg.d_model * bundled().cfg.d_vocab
    one_pass = flops_of(lambda: bundled().run(question(), only_last=True)) + (rows - 1) * of_row
    assert one.plan.n_passes == pytest.approx(flops_of(one.run) / one_pass, rel=0.05)


def test_what_nobody_reads_is_not_computed() -> None:
    hidden = AttentionKnockout("last", "image", layers=[4])
    everything, last = (plan({"a": hidden}, read) for read in (Logits("all"), "logits"))
    assert everything.shared_flops > last.shared_flops
    lens = LogitLens(positions=cat(), layers=[0, 1])
    early = plan({"a": [ZeroAblation(cat()), lens]}, None)
    assert early.n_passes < 1.2


def test_a_pass_of_the_loop_costs_what_a_run_costs_in_a_batch() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    given: dict[str, Any] = {"a": ZeroAblation("image"), "b": AttentionKnockout("last", "image", layers=[1])}
    one = Sweep(vlm, inputs, given, shows_progress=False)
    counted = flops_of(one.run) / flops_of(lambda: vlm.run(inputs, only_last=True))
    assert one.plan.n_passes == pytest.approx(counted, rel=0.05)


def test_parts_and_new_tokens_are_said() -> None:
    found = plan(conditions(), Generated(7))
    assert found.summary.endswith("; then up to 7 tokens each, decoded as one batch") and found.n_new == 7
    assert found.share == pytest.approx(found.n_passes / len(conditions()))
    undeclared = plan([Undeclared()])
    assert undeclared.n_parts == 1  # the clean run
    assert undeclared.n_passes < 2


def test_a_plan_runs_nothing() -> None:
    calls: list[str] = []
    vlm = bundled()
    hook = vlm.blocks[0].register_forward_hook(lambda *given: calls.append("run"))
    try:
        repr(plan(conditions()))
    finally:
        hook.remove()
    assert calls == [] and np.isfinite(plan(conditions()).flops)
    assert torch.is_grad_enabled()
