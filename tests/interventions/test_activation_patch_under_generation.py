"""A patch under generation: the prompt stays patched, and generated positions are given those of a generation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.interventions.plain_transformers import Plain
from tests.model.tiny_vlms import tiny_checkpoint, tiny_inputs
from tests.tiny_models import IMAGE, IMAGE_TOKEN, N_PATCHES
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import ActivationPatch, HookedVLM, Inputs
from vlm_lens.errors import PositionError

RESID = "blocks.0.hook_resid_post"


PLACES: dict[str, tuple[Any, list[int] | None]] = {
    "projector.hook_out": ("projector", None),
    "blocks.0.hook_resid_pre": ("embed", None),
    "blocks.0.hook_resid_post": (("decoder", "layer", 0), None),
    "blocks.1.hook_attn_out": (("decoder", "attn_out", 1), None),
    "blocks.0.hook_mlp_out": (("decoder", "mlp_out", 0), None),
    "blocks.0.attn.hook_z": (("decoder", "z", 0), [1, 3]),
    "vision.blocks.0.hook_resid_post": (("vision", "layer", 0), None),
    "vision.blocks.1.attn.hook_z": (("vision", "z", 1), [1]),
}


def longer_inputs(vlm: HookedVLM, n_rows: int = 1) -> Inputs:
    """Other prompts and pictures, longer than those of `tiny_inputs`."""
    rows = [(5, IMAGE, 9), (3, IMAGE, 12)][:n_rows]
    return vlm.as_inputs(new_mapping(tiny_checkpoint(), rows, seed=3))


def recorded(plain: Plain, place: Any, mapping: Any) -> Tensor:
    """An activation of plain transformers."""
    kept: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        kept.append(value)
        return value

    with torch.no_grad():
        plain.logits(mapping, edits={place: keep})
    return kept[0]


def copied(source: Tensor, pairs: list[tuple[int, int, int, int]], columns: slice) -> Callable[[Tensor], Tensor]:
    """An edit that copies (row, position) of the source, one by one, to (row, position) here."""

    def edit(value: Tensor) -> Tensor:
        for row, position, source_row, source_position in pairs:
            if position < value.shape[1]:
                value[row, position, columns] = source[source_row, source_position, columns]
        return value

    return edit


def image_columns(inputs: Inputs, row: int) -> list[int]:
    return (inputs.input_ids[row] == IMAGE_TOKEN).nonzero().flatten().tolist()


@pytest.mark.parametrize("hook", ["projector.hook_out", RESID, "blocks.1.attn.hook_z"])
def test_under_generation_the_prompt_stays_patched(vlm: HookedVLM, inputs: Inputs, hook: str) -> None:
    plain, other = Plain(tiny_checkpoint()), longer_inputs(vlm)
    place, _ = PLACES.get(hook, (("decoder", "z", 1), None))
    pairs = []
    for row in range(2):
        is_decoder = hook.startswith("blocks")
        here, there = (image_columns(one, n) for one, n in ((inputs, row), (other, 0)))
        positions = (
            zip(here, there, strict=True) if is_decoder else zip(range(N_PATCHES), range(N_PATCHES), strict=True)
        )
        pairs += [(row, mine, 0, theirs) for mine, theirs in positions]
    patch = ActivationPatch(vlm.run(other, names_filter=hook), hook, "image")
    run = vlm.generate(inputs, patch, max_new_tokens=4, eos_token_id=())
    with torch.no_grad():
        edits = {place: copied(recorded(plain, place, other), pairs, slice(None))}
        expected = plain.step_logits(inputs, run.tokens, edits=edits)
    assert (run.logits - expected).abs().max() <= 1e-4
    uncached = vlm.generate(inputs, patch, max_new_tokens=4, eos_token_id=(), use_cache=False)
    assert torch.equal(uncached.tokens, run.tokens)
    assert (uncached.logits - expected).abs().max() <= 1e-4


def test_generated_positions_are_given_those_of_a_generation(vlm: HookedVLM, inputs: Inputs) -> None:
    plain, other = Plain(tiny_checkpoint()), longer_inputs(vlm, 2)
    source = vlm.generate(other, names_filter=RESID, max_new_tokens=4, eos_token_id=())
    patch = ActivationPatch(source, RESID, "generated")
    run = vlm.generate(inputs, patch, max_new_tokens=4, eos_token_id=())
    whole = {
        **other,
        "input_ids": torch.cat((other.input_ids, source.tokens[:, :3]), dim=1),
        "attention_mask": torch.cat((other.attention_mask, torch.ones(2, 3, dtype=torch.long)), dim=1),
    }
    place, (n_here, n_there) = ("decoder", "layer", 0), (inputs.shape[1], other.shape[1])
    pairs = [(row, n_here + step, row, n_there + step) for row in range(2) for step in range(3)]
    with torch.no_grad():
        edits = {place: copied(recorded(plain, place, whole), pairs, slice(None))}
        expected = plain.step_logits(inputs, run.tokens, edits=edits)
        clean = plain.step_logits(inputs, run.tokens)
    assert (run.logits - expected).abs().max() <= 1e-4
    assert (run.logits - clean).abs()[:, 1:].amax(dim=(0, 2)).min() > 1e-3
    assert (run.logits - clean).abs()[:, 0].max() <= 1e-4  # the first token is chosen before any was run
    uncached = vlm.generate(inputs, patch, max_new_tokens=4, eos_token_id=(), use_cache=False)
    assert (uncached.logits - expected).abs().max() <= 1e-4
    with pytest.raises(PositionError, match="got 3 in row 0 of the source for 5 here"):
        vlm.generate(inputs, patch, max_new_tokens=6, eos_token_id=())


@pytest.mark.parametrize("ending", ["hook_pattern", "hook_attn_scores"])
def test_patterns_are_patched_by_query_also_under_generation(vlm: HookedVLM, inputs: Inputs, ending: str) -> None:
    hook, other = f"blocks.1.attn.{ending}", tiny_inputs(vlm, seed=1)
    source = vlm.generate(other, names_filter=hook, max_new_tokens=3, eos_token_id=())
    patch = ActivationPatch(source, hook, ["last", "generated"], heads=[2])
    run = vlm.generate(inputs, patch, names_filter=hook, max_new_tokens=3, eos_token_id=())
    seen, theirs = run.cache[hook], source.cache[hook]
    assert torch.equal(seen[:, 2, -3:], theirs[:, 2, -3:])
    assert not torch.equal(seen[:, 1, -3:], theirs[:, 1, -3:])
    uncached = vlm.generate(inputs, patch, max_new_tokens=3, eos_token_id=(), use_cache=False)
    assert (uncached.logits - run.logits).abs().max() <= 1e-4
    prompt_alone = ActivationPatch(vlm.run(other, names_filter=hook), hook, "last", heads=[2])
    again = vlm.generate(inputs, prompt_alone, names_filter=hook, max_new_tokens=3, eos_token_id=())
    assert torch.equal(again.cache[hook][:, 2, -3, : inputs.shape[1]], theirs[:, 2, -3, : inputs.shape[1]])


def test_a_generation_proves_that_it_was_patched(vlm: HookedVLM, inputs: Inputs) -> None:
    hooks = [RESID, "blocks.1.attn.hook_z", "blocks.0.attn.hook_pattern"]
    source = vlm.generate(tiny_inputs(vlm, seed=1), names_filter=hooks, max_new_tokens=3, eos_token_id=())
    patches = [
        ActivationPatch(source, hooks[0], ["image", "generated"]),
        ActivationPatch(source, hooks[1], "last", heads=[1]),
        ActivationPatch(source, hooks[2], "last", heads=[0]),
    ]
    run = vlm.generate(inputs, *patches, max_new_tokens=3, eos_token_id=())
    checked = run.verify().to_dataframe()
    assert all(checked["object"].str.contains(hook, regex=False).any() for hook in hooks)
