"""A sweep in parts gives what it gives at once, and goes on where it was stopped."""

import gc
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.recompute.held_to_runs import assert_near
from tests.sweeps.scene import bundled, cat, conditions, least_memory, question
from vlm_lens import (
    AttentionFlow,
    AttentionKnockout,
    Generated,
    LogitLens,
    NoiseAblation,
    Probability,
    Reader,
    SweepResult,
    ZeroAblation,
)
from vlm_lens.attachments import Attachment, Here
from vlm_lens.errors import InputError
from vlm_lens.sweeps import Sweep


def sweep(given: Any, read: Any = "logits", **options: Any) -> Sweep:
    return Sweep(bundled(), question(), given, read, shows_progress=False, **options)


def assert_same(found: SweepResult, expected: SweepResult) -> None:
    assert found.names == expected.names and len(found) == len(expected)
    for mine, other in zip((*found, found.clean), (*expected, expected.clean), strict=True):
        if other.logits is not None:
            assert_near(mine.logits, other.logits, other.name)
        if other.generation is not None:
            assert mine.generation is not None and torch.equal(mine.generation.tokens, other.generation.tokens)
            assert_near(mine.generation.logits, other.generation.logits, other.name)
            assert mine.generation.texts == other.generation.texts
            assert len(mine.session.record.ends) == len(other.session.record.ends)  # type: ignore[union-attr]
        for one in other.session.objects:
            if isinstance(one, Reader):
                assert_near(mine[one], other[one], other.name)


@dataclass(frozen=True, eq=False)
class Stops(ZeroAblation):
    """Zeroes something, but the first time it is stopped."""

    error: type[BaseException] = KeyboardInterrupt
    is_declared: bool = True
    calls: list[Here] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Keep the list of calls itself."""

    def touched(self, ground: Any) -> Any:
        return super().touched(ground) if self.is_declared else None

    def write(self, activation: Tensor, here: Here) -> Tensor | None:
        self.calls.append(here)
        if len(self.calls) == 1:
            raise self.error
        return super().write(activation, here)


@dataclass(frozen=True, eq=False)
class Counts(LogitLens):
    """A lens that counts what it is shown."""

    shown: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Keep the list itself."""

    def read(self, activation: Tensor, here: Here) -> Any:
        self.shown.append(here.name)
        return super().read(activation, here)


def bound(given: Any, read: Any = "logits") -> int:
    return least_memory(lambda memory: sweep(given, read, memory=memory))


@pytest.mark.parametrize("read", ["logits", LogitLens(positions="last"), Generated(4)])
def test_several_parts_give_what_one_does(read: Any) -> None:
    at_once = sweep(conditions(), read)
    assert at_once.plan.n_parts == 1
    in_parts = sweep(conditions(), read, memory=bound(conditions(), read))
    assert in_parts.plan.n_parts > 1
    assert f"in each of {in_parts.plan.n_parts} parts" in in_parts.plan.summary
    assert in_parts.plan.flops > at_once.plan.flops
    assert_same(in_parts.run(), at_once.run())


def test_a_bound_below_one_condition_is_refused_with_its_name_and_size() -> None:
    given = {"small": AttentionKnockout("last", "image"), "large": ZeroAblation("image")}
    small = bound({"small": given["small"]})
    with pytest.raises(InputError, match=r"at least \d+ bytes \(.* MiB\) for condition 'large' alone, got \d+ bytes"):
        sweep(given, memory=small + 100)


@pytest.mark.parametrize("memory", [0, -1, True])
def test_a_bound_is_a_number_of_bytes(memory: Any) -> None:
    with pytest.raises(InputError, match="expected a number of bytes, at least 1, got .* 2 GiB are 2 << 30"):
        sweep(conditions(), memory=memory)


@pytest.mark.parametrize("read", ["logits", Generated(3)])
@pytest.mark.parametrize(("error", "is_declared"), [(KeyboardInterrupt, True), (RuntimeError, False)])
def test_after_a_stop_in_its_middle_a_sweep_goes_on_to_the_same_result(
    error: Any, is_declared: bool, read: Any
) -> None:
    lens, flow = Counts(positions="last"), AttentionFlow("last")
    first: list[Attachment] = [AttentionKnockout("last", cat(), layers=[1]), lens]
    stopping = Stops(cat(), "blocks.3.hook_resid_pre", error=error, is_declared=is_declared)
    plain = ZeroAblation(cat(), "blocks.3.hook_resid_pre")
    after = NoiseAblation("question", "blocks.4.hook_resid_pre")
    both = [read, flow]
    given = {"first": first, "stopping": stopping, "after": after}
    expected = sweep({**given, "stopping": plain}, both).run()
    lens.shown.clear()
    stopped = sweep(given, both, memory=bound({**given, "stopping": plain}, both))
    assert len(stopped.lengths) > 1
    with pytest.raises(error):
        stopped.run()
    assert all(point.is_idle for point in bundled().hook_dict.values())
    n_shown = len(lens.shown)
    assert n_shown > 0 and re.search(r"; [12] of 3 run\)$", repr(stopped))
    results = stopped.run()
    assert len(lens.shown) == n_shown  # what had been finished was not run again
    assert len(results) == 3 and len(stopping.calls) >= 2
    for mine, other in zip(results, expected, strict=True):
        if other.logits is not None:
            assert_near(mine.logits, other.logits, other.name)
        else:
            assert mine.text == other.text
        assert_near(mine[flow], expected[mine.name][flow], f"flow of {mine.name}")
    assert_near(results["first"][lens], expected["first"][lens], "lens")
    assert_same(stopped.run(), results)


def test_a_part_that_was_stopped_and_run_again_reads_everything_once() -> None:
    lens = Counts(positions="last")
    stopping = Stops("last", "blocks.5.hook_resid_pre")
    one = sweep({"stopping": [stopping, lens], "other": [AttentionKnockout("last", cat(), layers=[0]), lens]}, None)
    with pytest.raises(KeyboardInterrupt):
        one.run()
    results = one.run()
    alone = bundled().run(question(), AttentionKnockout("last", cat(), layers=[0]), lens)
    assert_near(results["other"][lens], alone[lens], "lens")


def test_a_part_that_has_ended_leaves_no_logits_or_streams_beside_the_next() -> None:
    def held() -> int:
        widths = (bundled().cfg.d_vocab, bundled().cfg.d_model)
        tensors = [one for one in gc.get_objects() if type(one) is Tensor and one.ndim == 3]
        return sum(one.shape[:2] == (1, 1) and one.shape[2] in widths for one in tensors)

    before, planned = held(), sweep(conditions(), Probability(" Yes"))
    planned.run()
    assert held() == before
