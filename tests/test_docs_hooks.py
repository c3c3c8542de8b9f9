"""docs/hooks.md names every hook there is, with the shape that the hook hands out."""

import re
from typing import Any

import pytest
import torch

from docs.make_hooks import PAGE, pattern_of, render
from tests.model.tiny_vlms import FAMILIES, tiny_inputs, tiny_vlm
from tests.tiny_models import IMAGE, new_clip, tiny_llava
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import HookedCLIP, HookedVLM

ROOMS = {"decoder, tower": ("blocks.{layer}.", "vision.blocks.{layer}."), "decoder": ("blocks.{layer}.",),
         "tower": ("vision.blocks.{layer}.",)}  # fmt: skip


def rows() -> list[list[str]]:
    """The cells of every table of the page."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]


def documented() -> dict[str, tuple[list[str], str]]:
    """For every name on the page, the layer left open, its dimensions and when it exists."""
    found = {}
    for name, shape, *middle, exists in rows():
        name = re.findall("`(.+)`", name)[0]
        rooms = ROOMS[middle[0]] if len(middle) == 2 else ("",)
        for room in rooms:
            found[room + name] = (shape.split(), exists)
    return found


def sizes(vlm: HookedVLM, inputs: Any, is_tower: bool) -> dict[str, int]:
    """What each dimension's name means in one tower."""
    cfg = vlm.vision.cfg if is_tower else vlm.cfg
    assert cfg.d_mlp is not None
    n_images = len(inputs["pixel_values"])
    n_patches = (vlm.vision.cfg.image_size[0] // vlm.vision.cfg.patch_size[0]) ** 2
    n_positions = n_patches + vlm.vision.cfg.has_class_token if is_tower else inputs["input_ids"].shape[1]
    return {
        "1": 1,
        "batch": n_images if is_tower else inputs["input_ids"].shape[0],
        "image": n_images,
        "patch": n_patches,
        "pos": n_positions,
        "query_pos": n_positions,
        "key_pos": n_positions,
        "d_model": cfg.d_model,
        "d_head": cfg.d_head,
        "d_mlp": cfg.d_mlp,
        "d_vocab": cfg.d_vocab,
        "head_index": cfg.n_heads,
        "kv_head": cfg.n_key_value_heads or cfg.n_heads,
        "d_vision": vlm.vision.cfg.d_model,
        "d_features": vlm.vision.cfg.d_model,
    }


def test_the_page_is_what_the_script_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m docs.make_hooks"


@pytest.mark.parametrize("family", [*FAMILIES, "siglip"])
def test_names_and_shapes_are_those_of_the_activations(family: str) -> None:
    page = documented()
    if family == "siglip":
        checkpoint = tiny_llava("siglip")
        vlm, inputs = HookedVLM.from_hf(checkpoint), new_mapping(checkpoint, [(2, IMAGE, 3, IMAGE)])
    else:
        vlm = tiny_vlm(family)
        inputs = tiny_inputs(vlm)
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: True)
    if family == "a key for each head":
        page["blocks.{layer}.hook_attn_in"] = page["vision.blocks.{layer}.hook_attn_in"]
    assert set(cache) == set(vlm.hook_dict)
    for name, value in cache.items():
        dimensions, _ = page[pattern_of(name)]
        known = sizes(vlm, inputs, is_tower=name.startswith("vision."))
        assert value.shape == tuple(known[dimension] for dimension in dimensions), name
    missing = set(page) - {pattern_of(name) for name in vlm.hook_dict}
    assert missing == ({"vision.ln_pre.hook_scale", "vision.ln_pre.hook_normalized"} if family == "siglip" else set())


def test_what_is_cached_by_default_is_what_the_page_says() -> None:
    vlm = tiny_vlm()
    _, cache = vlm.run_with_cache(tiny_inputs(vlm))
    asked = {name for name, (_, exists) in documented().items() if exists == "asked"}
    assert asked and {pattern_of(name) for name in vlm.hook_dict} - {pattern_of(name) for name in cache} == asked


def test_clip_has_the_names_that_the_page_gives_it() -> None:
    clip = HookedCLIP.from_hf(new_clip())
    outside = {"hook_image_embed", "hook_text_embed", "text.hook_pos_embed"}
    page = set(documented())
    for name in clip.hook_dict:
        pattern = pattern_of(name)
        assert pattern in outside or pattern.replace("text.", "vision.", 1) in page | {"vision.hook_embed"}, name
    assert outside <= set(clip.hook_dict)
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name} [" in text for name in outside)
