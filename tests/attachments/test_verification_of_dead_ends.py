"""`run.verify()` says what reaches the result, and warns where nothing does."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from vlm_lens import AttentionKnockout, HookedCLIP, HookedVLM, Inputs, ValueAblation, Writer, ZeroAblation
from vlm_lens.attachments import Here
from vlm_lens.attachments.verification.verify import distance


@pytest.fixture
def vlm() -> HookedVLM:
    return tiny_vlm()


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm)


@dataclass(frozen=True, eq=False)
class Louder(Writer):
    """Doubles the first position, whatever that is."""

    hook: Any = "blocks.1.hook_resid_post"

    def write(self, activation: Tensor, here: Here) -> Tensor:
        louder = activation.clone()
        louder[:, 0] *= 2
        return louder


# The tower has 3 layers, and the decoder is given the patches of the second.
DEAD_ENDS: dict[str, Writer] = {
    "a class token that the decoder is not given": ZeroAblation("cls", "vision.blocks.1.hook_resid_post"),
    "what only that class token reads": AttentionKnockout("cls", "patches", layers=1, tower="vision"),
    "image rows of the last layer": ZeroAblation("image", "blocks.1.hook_resid_post"),
    "what image rows of the last layer read": AttentionKnockout("image", 4, layers=1),
    "padding": ZeroAblation("pad", "blocks.0.hook_resid_post"),
    "a writer of one's own": Louder(),
}


@pytest.mark.parametrize("kind", DEAD_ENDS)
def test_what_changes_nothing_that_reaches_the_result_is_told(vlm: HookedVLM, inputs: Inputs, kind: str) -> None:
    writer = DEAD_ENDS[kind]
    run = vlm.run(inputs, writer)
    assert torch.equal(run.logits[:, -1], vlm(inputs)[:, -1])
    with pytest.warns(UserWarning, match=rf"{type(writer).__name__}\(.* changes nothing that reaches the result"):
        verification = run.verify()
    checks = [one.check for one in verification.of(writer)]
    assert any(check.startswith("changes nothing that reaches the result") for check in checks)
    assert not any("the model reads what it leaves" in check for check in checks)


def test_what_lies_behind_the_features_is_told(vlm: HookedVLM, inputs: Inputs) -> None:
    writer = ZeroAblation("patches", "vision.blocks.2.hook_resid_post")
    with pytest.warns(UserWarning, match="can reach nothing"):
        run = vlm.run(inputs, writer)
    with pytest.warns(UserWarning, match=r"ZeroAblation\(.* changes nothing that reaches the result"):
        assert run.verify()


def test_patches_in_the_last_layer_of_clip_are_told() -> None:
    clip = HookedCLIP.demo()
    inputs = {"pixel_values": torch.randn(1, 3, *clip.vision.cfg.image_size), "input_ids": torch.tensor([[1, 5, 6]])}
    last = clip.vision.cfg.n_layers - 1
    with pytest.warns(UserWarning, match="changes nothing that reaches the result"):
        assert clip.run(inputs, ZeroAblation("patches", f"vision.blocks.{last}.hook_resid_post")).verify()


@pytest.mark.parametrize(
    "writer",
    [
        ZeroAblation("patches", "vision.blocks.1.hook_resid_post"),
        ZeroAblation("image", "blocks.0.hook_resid_post"),
        AttentionKnockout("last", "image", layers=1),
        AttentionKnockout("patches", "cls", layers=1, tower="vision"),
        ValueAblation("last", 0.5, "blocks.1.hook_resid_post"),
    ],
    ids=repr,
)
def test_what_reaches_the_result_is_told_without_a_warning(vlm: HookedVLM, inputs: Inputs, writer: Writer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks = [one.check for one in vlm.run(inputs, writer).verify().of(writer)]
    assert not any("changes nothing" in check for check in checks)
    if not isinstance(writer, AttentionKnockout):
        assert any("noise there moves the result" in check for check in checks)


def test_a_warning_names_the_one_of_several_that_does_nothing(vlm: HookedVLM, inputs: Inputs) -> None:
    idle = AttentionKnockout("image", 4, layers=1, name="idle")
    with pytest.warns(UserWarning, match="name='idle'") as told:
        vlm.generate(inputs, AttentionKnockout("last", "image"), idle, max_new_tokens=2, eos_token_id=()).verify()
    assert len(told) == 1


def test_without_a_result_nothing_is_said_of_it(vlm: HookedVLM, inputs: Inputs) -> None:
    writer = ZeroAblation("last", "blocks.0.hook_resid_post")
    checks = [one.check for one in vlm.run(inputs, writer, return_type=None).verify().of(writer)]
    assert any(check.startswith("the model reads what it leaves: noise there moves") for check in checks)
    assert not any("result" in check for check in checks if "the model reads" in check)


def test_a_loss_is_a_result(vlm: HookedVLM, inputs: Inputs) -> None:
    assert vlm.run(inputs, ZeroAblation("image", "blocks.0.hook_resid_post"), return_type="loss").verify()
    with pytest.warns(UserWarning, match="changes nothing that reaches the result"):  # nothing follows the last token
        vlm.run(inputs, ZeroAblation("last", "blocks.0.hook_resid_post"), return_type="loss").verify()


def test_a_result_that_was_made_zero_is_off_by_no_more_than_its_all(vlm: HookedVLM, inputs: Inputs) -> None:
    writer = ZeroAblation("all", "unembed.hook_out")
    (found,) = [one for one in vlm.run(inputs, writer).verify().of(writer) if "without it" in one.check]
    assert found.deviation == 1.0


@pytest.mark.parametrize(
    "one, other, expected",
    [
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 0.0], [3.0, -4.0], 1.0),
        ([3.0, -4.0], [0.0, 0.0], 1.0),
        ([2.0, 4.0], [1.0, 4.0], 0.25),
        ([float("nan"), 4.0], [float("nan"), 4.0], 0.0),
        ([float("nan"), 4.0], [1.0, 4.0], float("inf")),
        ([float("inf"), 4.0], [float("inf"), 2.0], 0.5),
        ([1e-40], [0.0], 1.0),
    ],
)
def test_a_distance_is_a_share_of_the_largest_value(one: list[float], other: list[float], expected: float) -> None:
    wide: Callable[[list[float]], Tensor] = lambda values: torch.tensor(values, dtype=torch.float64)  # noqa: E731
    assert distance([wide(one)], [wide(other)]) == pytest.approx(expected)
