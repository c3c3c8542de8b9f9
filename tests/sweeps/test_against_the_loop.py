"""A sweep can hold itself against the naive loop, and a wrong engine does not pass."""

from typing import Any

import pytest
import torch

from tests.sweeps.scene import EVERY_POSITION, Lies, bundled, cat, conditions, question
from vlm_lens import (
    AttentionKnockout,
    Generated,
    HookedVLM,
    LogitDifference,
    LogitLens,
    Logits,
    LogProbability,
    NoiseAblation,
    Probability,
    ZeroAblation,
)
from vlm_lens.errors import InputError, VerificationError
from vlm_lens.sweeps import Sweep
from vlm_lens.sweeps.against_the_loop import SETTING, n_to_verify


def sweep(given: Any, read: Any = "logits", **options: Any) -> Any:
    return bundled().sweep(question(), given, read, shows_progress=False, **options)


@pytest.mark.parametrize(
    ("asked", "n"), [(False, 0), (True, 3), ("all", 8), (1, 1), (5, 5), (99, 8), (0, 0)]
)  # fmt: skip
def test_some_conditions_are_verified_as_asked(asked: Any, n: int) -> None:
    assert n_to_verify(asked, 8) == n


@pytest.mark.parametrize(("setting", "n"), [("", 2), ("all", 8), ("4", 4), ("0", 2), ("1", 2)])
def test_the_environment_asks_it_of_every_sweep(setting: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, setting)
    assert n_to_verify(2, 8) == n
    assert Sweep(bundled(), question(), conditions(), verify=2).n_verified == n


@pytest.mark.parametrize("asked", [-1, "some"])
def test_other_wishes_are_refused(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="verify of a sweep: expected True, 'all' or a number of conditions"):
        sweep(conditions(), verify=asked)
    monkeypatch.setenv(SETTING, "some")
    with pytest.raises(InputError, match=f"{SETTING} of a sweep: expected True, 'all' or a number"):
        sweep(conditions())


@pytest.mark.parametrize(
    "read", ["logits", Logits("all"), Probability(" Yes"), LogitLens(positions=cat()), Generated(3)]
)
def test_a_right_sweep_passes(read: Any) -> None:
    assert len(sweep(conditions(), read, verify="all")) == 8


LIE = {"honest": AttentionKnockout("last", cat(), layers=[1]), "lie": Lies()}


@pytest.mark.parametrize(
    "read",
    ["logits", Logits("last_row"), LogProbability(" No"), LogitDifference(" Yes", " No"), LogitLens(), Generated(3)],
)
def test_a_writer_that_lies_about_what_it_touches_is_caught_by_name(read: Any) -> None:
    sweep(LIE, read)
    with pytest.raises(VerificationError, match="Condition 'lie' of the sweep: expected .* Does Lies touch, or read"):
        sweep(LIE, read, verify="all")


def test_a_small_lie_is_caught_too() -> None:
    """A single row of the question that is changed by a thousandth, undeclared."""

    class SmallLie(Lies):
        def write(self, activation: Any, here: Any) -> Any:
            return activation * 1.001

    with pytest.raises(VerificationError, match="logits within .* of the naive loop's"):
        sweep({"lie": SmallLie()}, verify=True)


def half() -> HookedVLM:
    return HookedVLM.demo().to(torch.bfloat16)


def test_in_half_precision_it_may_differ_by_twice_what_a_batch_of_two_differs_by() -> None:
    vlm = half()
    given = {
        "hidden": AttentionKnockout("last", cat(), layers=[1, 2]),
        "noise": NoiseAblation(EVERY_POSITION, "blocks.2.hook_resid_pre"),
        "ablated": ZeroAblation(cat()),
        "nothing": [],
    }
    assert len(vlm.sweep(question(), given, shows_progress=False, verify="all")) == 4
    with pytest.raises(VerificationError, match="Condition 'lie'"):
        vlm.sweep(question(), {"lie": Lies()}, shows_progress=False, verify="all")


def test_a_sweep_that_fails_the_proof_is_told_so_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Sweep(bundled(), question(), LIE, shows_progress=False, verify="all")
    for _ in range(2):
        with pytest.raises(VerificationError):
            one.run()
    assert torch.is_grad_enabled()


def test_what_keeps_no_result_of_its_own_says_how_it_is_verified() -> None:
    result = Sweep(bundled(), question(), [ZeroAblation(cat())], shows_progress=False).run()
    with pytest.raises(VerificationError, match=r"vlm\.sweep\(verify=True\)"):
        result[0].session.verify()
