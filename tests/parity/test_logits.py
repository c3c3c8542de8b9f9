"""Our logits are those of `transformers` (sdpa, fp32), in every family and setting.

Where both do the same operations on the same operands the logits are equal to the bit. They differ in rounding, and by
no more than 1e-5 of the largest logit, in one case: `transformers` counts positions from the first *padding* token when
it is given no `position_ids`, we count from the first real one. Rotary scores depend on differences of positions only,
so both are right, but cosines and sines of other angles are rounded otherwise.
"""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tests.tiny_models import (
    IMAGE,
    IMAGE_TOKEN,
    PAD_TOKEN,
    VARIANTS,
    new_llava,
    position_ids,
    real,
    tiny_inputs,
    tiny_llava,
)
from vlm_lens import HookedVLM

TOLERANCE = 1e-5

BATCHES: dict[str, Sequence[Sequence[int | str]]] = {
    "one prompt": [(4, IMAGE, 5)],
    "two prompts of one length": [(4, IMAGE, 5), (2, IMAGE, 7)],
    "left padding": [(4, IMAGE, 5), (2, IMAGE, 1)],
    "two images in one prompt": [(3, IMAGE, 2, IMAGE, 4)],
    "two images in one prompt, one in the next": [(3, IMAGE, 2, IMAGE, 4), (1, IMAGE, 9)],
    "two images side by side": [(3, IMAGE, IMAGE, 4)],
    "an image in one row and none in the other": [(3, IMAGE, 4), (9,)],
    "text alone": [(29,)],
    "text alone with left padding": [(29,), (11,)],
}
# Every family takes these; two of them take all.
MOST_AT_ONCE = [
    "left padding",
    "two images in one prompt, one in the next",
    "an image in one row and none in the other",
]
CASES = [
    (variant, batch)
    for variant in VARIANTS
    for batch in (BATCHES if variant in ("llama", "siglip, qwen2") else MOST_AT_ONCE)
]
PADDED = ["left padding", "an image in one row and none in the other", "text alone with left padding"]


def is_padded(inputs: dict[str, Tensor]) -> bool:
    return not bool(inputs["attention_mask"].all())


def both(variant: str, batch: str, **options: Tensor) -> tuple[Tensor, Tensor]:
    """Logits at real positions: ours, and those of `transformers`."""
    model = tiny_llava(variant)
    inputs = tiny_inputs(model, BATCHES[batch])
    with torch.no_grad():
        theirs = model(**inputs, **options).logits
        ours = HookedVLM.from_hf(model)(inputs)
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    return real(ours, inputs["attention_mask"]), real(theirs, inputs["attention_mask"])


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    error = (ours - theirs).abs().max() / theirs.abs().max()
    assert error <= TOLERANCE, f"{error:.1e} of the largest logit"


@pytest.mark.parametrize(("variant", "batch"), CASES)
def test_logits_are_equal_to_the_bit(variant: str, batch: str) -> None:
    mask = tiny_inputs(tiny_llava(variant), BATCHES[batch])["attention_mask"]
    ours, theirs = both(variant, batch, position_ids=position_ids(mask))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("variant", "batch"), [case for case in CASES if case[1] in PADDED])
def test_with_positions_counted_by_transformers_logits_are_close(variant: str, batch: str) -> None:
    """Not to the bit: left to itself, `transformers` turns a padded row by other angles of the same differences."""
    assert is_padded(tiny_inputs(tiny_llava(variant), BATCHES[batch]))
    assert_close(*both(variant, batch))


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_are_neither_flat_nor_the_same_everywhere(variant: str) -> None:
    """A comparison of logits that hardly vary would prove little."""
    logits, _ = both(variant, "one prompt")
    assert logits.abs().max() > 3
    assert logits.std(dim=0).mean() > 0.3, "positions"
    assert logits.argmax(dim=-1).unique().numel() > 5


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_acts_as_in_transformers(variant: str) -> None:
    """The gradient of a random sum of logits is theirs, parameter by parameter; what feeds nothing has none."""
    model = tiny_llava(variant)
    inputs = tiny_inputs(model, BATCHES["left padding"])
    mask, parameters = inputs["attention_mask"], dict(model.named_parameters())

    def gradients(logits: Tensor) -> dict[str, Tensor | None]:
        chosen = real(logits, mask)
        weights = torch.randn(chosen.shape, generator=torch.Generator().manual_seed(0))
        found = torch.autograd.grad((chosen * weights).sum(), list(parameters.values()), allow_unused=True)
        return dict(zip(parameters, found, strict=True))

    ours = gradients(HookedVLM.from_hf(model)(inputs))
    theirs = gradients(model(**inputs, position_ids=position_ids(mask)).logits)
    for name, expected in theirs.items():
        found = ours[name]
        if found is None or expected is None:
            assert (found is None or not found.any()) and (expected is None or not expected.any()), name
            continue
        assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max() + 1e-6, name


@pytest.mark.parametrize("variant", ["llama", "mistral, window shorter than the prompt", "siglip, qwen2"])
def test_with_gradients_on_logits_are_still_equal_to_the_bit(variant: str) -> None:
    model = tiny_llava(variant)
    inputs = tiny_inputs(model, BATCHES["left padding"])
    theirs = model(**inputs, position_ids=position_ids(inputs["attention_mask"])).logits
    ours = HookedVLM.from_hf(model)(inputs)
    assert ours.requires_grad
    assert torch.equal(real(ours, inputs["attention_mask"]), real(theirs, inputs["attention_mask"]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "variant", ["llama", "mistral, window shorter than the prompt", "qwen2, biased q k v", "siglip"]
)
def test_in_half_precision_logits_are_equal_to_the_bit(variant: str, dtype: torch.dtype) -> None:
    model = new_llava(variant).to(dtype)
    inputs = tiny_inputs(model, BATCHES["left padding"])
    with torch.no_grad():
        ours = HookedVLM.from_hf(model)(inputs)
        theirs = model(**inputs, position_ids=position_ids(inputs["attention_mask"])).logits
    assert ours.dtype == dtype
    assert torch.equal(real(ours, inputs["attention_mask"]), real(theirs, inputs["attention_mask"]))


@pytest.mark.parametrize("variant", [name for name in VARIANTS if not name.startswith("rotary, dynamic")])
def test_a_left_padded_row_equals_the_row_alone(variant: str) -> None:
    """Dynamically scaled rotary positions are left out: there the longest row of a batch turns all the others."""
    model = tiny_llava(variant)
    inputs = tiny_inputs(model, BATCHES["left padding"])
    vlm, padded = HookedVLM.from_hf(model), inputs["attention_mask"][1] == 0
    n_padding = int(padded.sum())
    assert n_padding > 0
    alone = {"input_ids": inputs["input_ids"][1:, n_padding:], "pixel_values": inputs["pixel_values"][1:]}
    with torch.no_grad():
        assert_close(vlm(inputs)[1, n_padding:], vlm(alone)[0])


def test_what_stands_in_the_padding_moves_nothing() -> None:
    model = tiny_llava()
    inputs = tiny_inputs(model, BATCHES["left padding"])
    is_padding = inputs["attention_mask"] == 0
    others = {**inputs, "input_ids": inputs["input_ids"].masked_fill(is_padding, PAD_TOKEN + 300)}
    assert not torch.equal(others["input_ids"], inputs["input_ids"])
    vlm, mask = HookedVLM.from_hf(model), inputs["attention_mask"]
    with torch.no_grad():
        assert torch.equal(real(vlm(inputs), mask), real(vlm(others), mask))


def test_dynamically_scaled_positions_are_scaled_in_these_tests() -> None:
    """The batch is longer than the length before scaling, and the scaling moves the logits."""
    scaled, plain = tiny_llava("rotary, dynamic"), tiny_llava("llama")
    inputs = tiny_inputs(scaled, BATCHES["one prompt"])
    assert inputs["input_ids"].shape[1] > scaled.config.text_config.max_position_embeddings
    with torch.no_grad():
        assert not torch.equal(HookedVLM.from_hf(scaled)(inputs), HookedVLM.from_hf(plain)(inputs))


@pytest.mark.parametrize(
    ("variant", "n_ctx"),
    [("llama", 256), ("rotary, linear", 2 * 256), ("rotary, dynamic", 2 * 24), ("rotary, yarn", 256)],
)
def test_the_context_is_the_one_after_scaling(variant: str, n_ctx: int) -> None:
    assert HookedVLM.from_hf(tiny_llava(variant)).cfg.n_ctx == n_ctx


def test_windows_are_shorter_than_the_prompts() -> None:
    for variant in ("mistral, window shorter than the prompt", "qwen2, windows in the upper layers"):
        model = tiny_llava(variant)
        windows = HookedVLM.from_hf(model).cfg.window_sizes
        shortest = min(int(tiny_inputs(model, rows)["attention_mask"].sum(1).min()) for rows in BATCHES.values())
        assert all(window < shortest for window in windows if window is not None)
        assert any(window is not None for window in windows)
    assert HookedVLM.from_hf(tiny_llava("qwen2, windows in the upper layers")).cfg.window_sizes == (None, 6, 6)


@pytest.mark.parametrize("variant", ["llama", "siglip"])
def test_what_the_image_shows_moves_the_logits_behind_it_and_none_before(variant: str) -> None:
    model = tiny_llava(variant)
    inputs = tiny_inputs(model, BATCHES["one prompt"])
    others = {**inputs, "pixel_values": inputs["pixel_values"].flip(-1)}
    vlm, first = HookedVLM.from_hf(model), int((inputs["input_ids"][0] == IMAGE_TOKEN).nonzero()[0, 0])
    with torch.no_grad():
        ours, moved = vlm(inputs)[0], vlm(others)[0]
    assert torch.equal(ours[:first], moved[:first])
    assert (ours[first:] - moved[first:]).abs().amax(dim=-1).min() > 1e-3
