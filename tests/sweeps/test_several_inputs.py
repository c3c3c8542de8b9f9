"""Several inputs in turn give what each gives alone, and share how they begin."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.recompute.held_to_runs import assert_near
from tests.sweeps.scene import bundled
from vlm_lens import AttentionKnockout, Generated, LogitLens, ZeroAblation
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import InputError, PositionError
from vlm_lens.inputs import Inputs

QUESTIONS = ("Is there a cat in this image?", "Is there a dog in this image?", "What is on the bed?")


def on_one_picture() -> list[Inputs]:
    image = example_scenes()[0].scene.image
    return [bundled().prepare(image, question) for question in QUESTIONS]


def conditions(inputs: Inputs) -> dict[str, Any]:
    subject = example_scenes()[0].subject
    assert subject is not None
    cat = inputs.layout.region(subject.mask)
    return {
        "hidden": AttentionKnockout("last", cat, layers=[1, 2]),
        "words": AttentionKnockout("question", "image", layers=[3]),
        "ablated": ZeroAblation(cat),
        "nothing": [],
    }


def test_each_is_what_it_is_alone() -> None:
    several = on_one_picture()
    lens = LogitLens(positions="last")
    results = bundled().sweep(several, conditions, ["logits", lens], shows_progress=False, verify=1)
    assert len(results) == 3
    for inputs, found in zip(several, results, strict=True):
        for cell in found:
            alone = bundled().run(inputs, *cell.condition.objects, lens)
            assert_near(cell.logits, alone.logits[:, -1], cell.name)
            assert_near(cell[lens], alone[lens], cell.name)


@pytest.mark.parametrize("read", ["logits", Generated(2)])
def test_the_picture_and_what_stands_before_the_question_are_computed_once(read: Any) -> None:
    several = on_one_picture()

    def work(inputs: Any) -> float:
        hidden = {"hidden": AttentionKnockout("last", "image", layers=[1, 2])}
        with FlopCounterMode(display=False) as counter:
            bundled().sweep(inputs, hidden, read, shows_progress=False)
        return counter.get_total_flops()

    one, three = work(several[0]), work(several)
    assert three < 1.5 * one


def test_one_bar_counts_all_and_text_is_generated_for_each() -> None:
    several = on_one_picture()
    given = {"hidden": AttentionKnockout("text", "image", layers=[1]), "zero": ZeroAblation([20, 30]), "nothing": []}
    lens = LogitLens(positions=[*range(40, 50), "predicting"])
    results = bundled().sweep(tuple(several), given, [Generated(3), lens], shows_progress=False)
    for inputs, found in zip(several, results, strict=True):
        for cell in found:
            alone = bundled().generate(inputs, *cell.condition.objects, lens, max_new_tokens=3)
            assert cell.generation is not None and cell.text == alone.text
            assert_near(cell.generation.logits, alone.logits, cell.name)
            assert_near(cell[lens], alone[lens], cell.name)


def test_each_has_a_folder_of_its_own(tmp_path: Path) -> None:
    several = on_one_picture()
    first = bundled().sweep(several, conditions, out=tmp_path, shows_progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"inputs-{n:06d}" for n in range(3)]
    again = bundled().sweep(several, conditions, out=tmp_path, shows_progress=False)
    assert all(torch.equal(one.logits, other.logits) for one, other in zip(first, again, strict=True))
    with pytest.raises(InputError, match="is of another sweep: expected inputs"):
        bundled().sweep(several[::-1], conditions, out=tmp_path, shows_progress=False)


def test_what_is_wrong_with_one_is_said_before_any_is_run() -> None:
    image = example_scenes()[0].scene.image
    several = [*on_one_picture(), bundled().prepare(None, "Is there a cat?")]
    calls: list[str] = []
    hook = bundled().blocks[0].register_forward_hook(lambda *given: calls.append("run"))
    try:
        with pytest.raises(PositionError) as raised:
            bundled().sweep(several, {"hidden": AttentionKnockout("last", "image")}, shows_progress=False)
    finally:
        hook.remove()
    assert "In number 3 of the inputs." in raised.value.__notes__ and calls == [] and image is not None


def test_a_list_without_inputs_is_refused() -> None:
    with pytest.raises(InputError, match="inputs of a sweep: expected at least one, got none"):
        bundled().sweep([], conditions)
