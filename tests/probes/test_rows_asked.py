"""Readers of attention that say which queries they look at are shown these, and no others are written out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import FAMILIES, tiny_inputs, tiny_vlm
from vlm_lens import AttentionFlow, AttentionKnockout, AttentionRollout, Reader
from vlm_lens.attachments import Here

EXACT = 1e-6  # the same products, of fewer rows
PATTERNS = "blocks.*.attn.hook_pattern"


@dataclass(frozen=True, eq=False)
class Rows(Reader):
    """Keeps what it is shown at its queries, and how many rows it is shown."""

    queries: Any = "last"
    hook: str = PATTERNS
    layers: Any = "all"

    is_local: ClassVar[bool] = True

    def asked(self, ground: Any) -> Mapping[str, Tensor]:
        names = self.hook_names(ground.model)
        return dict.fromkeys(names, ground.sequences_at(names[0]).mask(self.queries))

    def read(self, activation: Tensor, here: Here) -> tuple[int, Tensor]:
        assert activation.shape[2] == len(here.positions) and activation.shape[3] == here.n_keys
        rows, columns = here.rows(self.queries).nonzero(as_tuple=True)
        return activation.shape[2], activation[rows, :, columns]

    def result(self, reads: Any, record: Any) -> tuple[list[int], list[Tensor]]:
        return [read.value[0] for read in reads], [read.value[1] for read in reads]


class Careless(Rows):
    """Has a `read` of its own, and does not say whether that is local."""

    def read(self, activation: Tensor, here: Here) -> tuple[int, Tensor]:
        return activation.shape[2], activation


@pytest.mark.parametrize("queries", ["last", [2, -3, -1], "question", {0: [-2], 1: "image"}])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_written_out_alone_are_those_of_the_whole_pattern(family: str, queries: Any) -> None:
    vlm = tiny_vlm(family)
    inputs = tiny_inputs(vlm)
    knockout = AttentionKnockout("last", "image", layers=1)
    for hook in (PATTERNS, "blocks.*.attn.hook_attn_scores"):
        reader, flow = Rows(queries, hook), AttentionFlow(queries, keeps="heads")
        alone, whole = (
            vlm.run(inputs, knockout, reader, flow),
            vlm.run(inputs, knockout, reader, flow, names_filter="blocks.*.attn.*"),
        )
        (n_rows, found), (n_whole, expected) = alone[reader], whole[reader]
        assert set(n_whole) == {inputs.shape[1]} and max(n_rows) < inputs.shape[1]
        for few, all_rows in zip(found, expected, strict=True):
            torch.testing.assert_close(few, all_rows, atol=EXACT, rtol=0)
        torch.testing.assert_close(alone[flow].shares, whole[flow].shares, atol=EXACT, rtol=0)
        torch.testing.assert_close(alone[flow].maps, whole[flow].maps, atol=EXACT, rtol=0, equal_nan=True)
        assert torch.equal(alone.logits, whole.logits) and torch.equal(alone.logits, vlm.run(inputs, knockout).logits)


def test_in_the_vision_tower_too() -> None:
    vlm, flow = tiny_vlm(), AttentionFlow("cls", tower="vision", keeps="heads", layers=range(2))
    inputs = tiny_inputs(vlm)
    alone, whole = (vlm.run(inputs, flow, names_filter=names) for names in (None, "vision.blocks.*.attn.hook_pattern"))
    torch.testing.assert_close(alone[flow].shares, whole[flow].shares, atol=EXACT, rtol=0)
    assert torch.equal(alone.logits, whole.logits)


def test_readers_of_different_rows_share_what_is_written_out() -> None:
    vlm, last, first, scores = (
        tiny_vlm(),
        Rows("last"),
        Rows([2, 3], layers=1),
        Rows(5, "blocks.0.attn.hook_attn_scores"),
    )
    inputs = tiny_inputs(vlm, is_padded=False)
    run = vlm.run(inputs, last, first, scores)
    assert run[last][0] == [2, 3] and run[first][0] == [3] and run[scores][0] == [2]
    for reader in (last, first, scores):
        for together, alone in zip(run[reader][1], vlm.run(inputs, reader)[reader][1], strict=True):
            torch.testing.assert_close(together, alone, atol=EXACT, rtol=0)


def test_whoever_does_not_say_which_rows_sees_them_all() -> None:
    vlm, rollout, careless, last = tiny_vlm(), AttentionRollout("last"), Careless(), Rows()
    inputs = tiny_inputs(vlm)
    n_positions = inputs.shape[1]
    assert vlm.run(inputs, careless)[careless][0] == [n_positions] * 2
    run, alone = vlm.run(inputs, last, rollout), vlm.run(inputs, rollout)
    assert run[last][0] == [n_positions] * 2
    assert torch.equal(run[rollout].shares, alone[rollout].shares)
    seen = []
    with vlm.hooks(fwd_hooks=[("blocks.0.attn.hook_pattern", lambda pattern, hook: seen.append(pattern.shape[2]))]):
        assert vlm.run(inputs, last)[last][0] == [n_positions, 1]
    assert seen == [n_positions]


def test_in_a_pass_without_its_queries_a_reader_is_shown_nothing() -> None:
    vlm, generated, predicting = tiny_vlm(), Rows("generated"), Rows("predicting")
    inputs = tiny_inputs(vlm)
    run = vlm.generate(inputs, generated, max_new_tokens=4, eos_token_id=())
    assert run[generated][0] == [1] * (2 * 3)  # layers times steps
    run = vlm.generate(inputs, predicting, max_new_tokens=4, eos_token_id=())
    assert run[predicting][0] == [1] * (2 * 4)
    whole = vlm.generate(inputs, predicting, max_new_tokens=4, eos_token_id=(), names_filter=PATTERNS)
    for few, all_rows in zip(run[predicting][1], whole[predicting][1], strict=True):
        torch.testing.assert_close(few, all_rows, atol=EXACT, rtol=0)
