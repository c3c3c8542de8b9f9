"""Readers that carry something from hook to hook carry it for each condition apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from vlm_lens import (
    AttentionFlow,
    AttentionKnockout,
    AttentionRollout,
    DirectLogitAttribution,
    LogitLens,
    NoiseAblation,
    Reader,
    RegisterTokens,
    Steer,
    ZeroAblation,
)
from vlm_lens.attachments import Here, Read, Record
from vlm_lens.recompute import SharedRun


@dataclass(frozen=True, eq=False)
class HooksInOrder(Reader):
    """Every hook of the blocks as it comes, with a sum of all that came before it."""

    hook: Any = (
        "blocks.*.hook_resid_pre",
        "blocks.*.attn.hook_v",
        "blocks.*.attn.hook_pattern",
        "blocks.*.hook_mlp_out",
    )

    def read(self, activation: Tensor, here: Here) -> tuple[str, float]:
        memo, key = here.current.memo, ("sum", id(self))
        memo[key] = memo.get(key, 0.0) * 0.9 + float(activation.double().square().sum())
        return here.name, memo[key]

    def result(self, reads: Sequence[Read], record: Record) -> list[tuple[str, float]]:
        return [read.value for read in reads]


WRITERS = {
    "nothing": (),
    "a knockout": (AttentionKnockout("last", "image", layers=[1]),),
    "a patch ablated in the tower": (ZeroAblation("patches", "vision.blocks.1.hook_resid_pre"),),
    "noise in the question": (NoiseAblation("question", "blocks.0.hook_resid_mid"),),
    "the last position steered, late": (Steer(torch.ones(24), "blocks.1.hook_resid_pre", "last"),),
}
READERS = {
    "attribution": DirectLogitAttribution(400),
    "attribution by position": DirectLogitAttribution(400, by="position"),
    "attribution of an early position": DirectLogitAttribution(400, by="position", positions="image"),
    "rollout": AttentionRollout("last"),
    "flow": AttentionFlow("last"),
    "lens": LogitLens(positions="image"),
    "registers": RegisterTokens(),
    "registers of the decoder": RegisterTokens(hook="blocks.1.hook_resid_pre"),
    "hooks in order": HooksInOrder(),
}


def numbers(found: Any) -> np.ndarray:
    """All numbers of a result."""
    if isinstance(found, list):
        return np.array([value for _, value in found])
    frame = found.to_dataframe()
    return frame[[name for name in frame if frame[name].dtype.kind == "f"]].to_numpy(dtype=float)


@pytest.mark.parametrize("name", READERS)
def test_one_reader_in_every_condition_reads_what_it_reads_of_each_alone(name: str) -> None:
    vlm, reader = tiny_vlm(), READERS[name]
    inputs = tiny_inputs(vlm)
    conditions = [(*writers, reader) for writers in WRITERS.values()]
    shared = SharedRun(vlm, inputs, conditions)
    assert not any(one.reach.why_in_full for one in shared.planned.variants)
    seen = []
    for condition, outcome in zip(conditions, shared.run(), strict=True):
        found, alone = outcome.session[reader], vlm.run(inputs, *condition)[reader]
        if isinstance(found, list):
            assert [place for place, _ in found] == [place for place, _ in alone]
        # Rows that are computed among others are the same up to the rounding of fp32.
        np.testing.assert_allclose(numbers(found), numbers(alone), rtol=1e-4, atol=2e-6)
        seen.append(numbers(found).sum())
    assert len(set(seen)) > 1 or name == "registers"


def test_a_reader_of_values_beside_one_of_an_early_query_is_shown_each_hook_once() -> None:
    """Steering a later position makes values anew for the one, and no row of pattern for the other."""
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    hooks = HooksInOrder(hook=("blocks.*.attn.hook_v",))
    flow, attribution = AttentionFlow("image"), DirectLogitAttribution(400, positions="image", by="position")
    steer = Steer(torch.ones(24), "blocks.0.hook_resid_post", "last")
    (outcome,) = SharedRun(vlm, inputs, [(steer, hooks, flow, attribution)], "image").run()
    alone = vlm.run(inputs, steer, hooks, flow, attribution)
    assert [name for name, _ in outcome.session[hooks]] == [name for name, _ in alone[hooks]]
    for reader in (hooks, flow, attribution):
        np.testing.assert_allclose(numbers(outcome.session[reader]), numbers(alone[reader]), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("reader", [DirectLogitAttribution(400), RegisterTokens(hook="blocks.1.hook_resid_pre")])
def test_a_reader_asks_for_no_row_but_those_it_reads(reader: Reader) -> None:
    """Noise in the question changes all after it in the next layer, of which the last position alone is read."""
    vlm, noise = tiny_vlm(), NoiseAblation("question", "blocks.0.hook_resid_mid")
    inputs = tiny_inputs(vlm, is_padded=False)
    conditions = [(noise,), (noise, reader), (noise, HooksInOrder())]
    alone, asked, everything = SharedRun(vlm, inputs, conditions).planned.variants
    rows = [[len(layer) for layer in one.decoder.asking] for one in (alone, asked, everything) if one.decoder]
    question = {position for row in range(2) for position in inputs.layout.positions("question", row)}
    n_after = inputs.layout.n_positions - min(question)
    assert rows[0] == rows[1] == [len(question), 1] and rows[2] == [len(question), n_after]
