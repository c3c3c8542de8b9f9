"""Whatever is asked for, shares are sums of the pattern and sum to 1."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from tests.tiny_models import N_PATCHES
from vlm_lens import AttentionFlow
from vlm_lens.errors import EmptySelectionError, PositionError

VLM = tiny_vlm()
INPUTS = {is_padded: tiny_inputs(VLM, is_padded) for is_padded in (True, False)}
PATTERNS = {
    is_padded: VLM.run_with_cache(inputs, names_filter=lambda name: name.endswith("hook_pattern"))[1]
    for is_padded, inputs in INPUTS.items()
}


@settings(max_examples=30, deadline=None)
@given(
    is_padded=st.booleans(),
    row=st.integers(0, 1),
    places=st.lists(st.sampled_from(["", "a", "b"]), min_size=N_PATCHES, max_size=N_PATCHES),
    layers=st.sets(st.integers(0, 1), min_size=1),
    heads=st.sets(st.integers(0, 3), min_size=1),
    rest=st.sampled_from(["other", "roles"]),
    tower=st.sampled_from(["decoder", "vision"]),
)
def test_shares_of_any_regions_are_sums_of_the_pattern(
    is_padded: bool, row: int, places: list[str], layers: set[int], heads: set[int], rest: str, tower: Any
) -> None:
    inputs, cache = INPUTS[is_padded], PATTERNS[is_padded]
    grid = inputs.layout.image_span(row=row).grid
    masks = {name: np.array([place == name for place in places]).reshape(grid.shape) for name in ("a", "b")}
    regions = {name: inputs.layout.patches(torch.from_numpy(mask), row=row) for name, mask in masks.items()}
    heads = {head % 2 for head in heads} if tower == "vision" else heads
    flow = AttentionFlow("all", regions, list(layers), list(heads), tower, "heads", rest=rest, on_empty="skip")
    reading = VLM.run(inputs, flow)[flow]
    torch.testing.assert_close(reading.shares.sum(dim=-1), torch.ones(reading.shares.shape[:-1]), atol=1e-5, rtol=0)
    prefix, shift = ("vision.", 1) if tower == "vision" else ("", 0)
    for number, layer in enumerate(reading.layers):
        pattern = cache[f"{prefix}blocks.{layer}.attn.hook_pattern"].numpy()
        for group, name in enumerate(("a", "b")):
            keys = [p + shift for p in regions[name]] if tower == "vision" else list(regions[name].positions)
            whole = pattern[reading.rows.numpy()][np.arange(len(reading.rows)), :, reading.positions.numpy()]
            expected = whole[:, sorted(heads)][:, :, keys].sum(axis=-1) * (reading.rows == row).numpy()[:, None]
            np.testing.assert_allclose(reading.shares[number, ..., group], expected, atol=1e-6)


def test_text_alone_has_shares_and_no_maps() -> None:
    flow = AttentionFlow("all")
    tokens = torch.tensor([[1, 300, 301, 302]])
    reading = VLM.run(tokens, flow)[flow]
    assert reading.maps.shape[-1] == 0 and reading.image_attention.shape == (1, 2, 0)
    torch.testing.assert_close(reading.shares.sum(dim=-1), torch.ones(2, 4, 1), atol=1e-5, rtol=0)
    with pytest.raises(PositionError, match="Picture does not exist"):
        reading.map()
    with pytest.raises(PositionError, match="image tokens with attention"):
        reading.histogram()
    with pytest.raises(EmptySelectionError):
        VLM.run(tokens, AttentionFlow("cls", tower="vision"))
