"""No NaN or infinity is written: what becomes one in the model's own precision is refused before the model runs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.model.tiny_vlms import new_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import new_clip, random_pixels
from vlm_lens import HookedCLIP, HookedVLM, Inputs
from vlm_lens.attachments.naming.feature_shape import activation_dtype
from vlm_lens.errors import HookError
from vlm_lens.estimates import Mean, MeanEstimator
from vlm_lens.interventions import (
    ActivationPatch,
    MeanAblation,
    NoiseAblation,
    ResampleAblation,
    Steer,
    ValueAblation,
)

STREAM, WIDTH = "blocks.0.hook_resid_post", 24
BEYOND = "beyond 65504, the largest float16. Load the model in float32"


@pytest.fixture(scope="module")
def half() -> HookedVLM:
    return HookedVLM.from_hf(new_checkpoint()).to(torch.float16)


@pytest.fixture(scope="module")
def inputs(half: HookedVLM) -> Inputs:
    return tiny_inputs(half)


def large(*shape: int) -> torch.Tensor:
    """One entry that float32 holds and float16 does not."""
    return torch.zeros(*shape).index_fill(-1, torch.tensor(3), 1e6)


WRITERS: dict[str, tuple[Callable[[Inputs], Any], str]] = {
    "a mean": (lambda inputs: MeanAblation("image", large(WIDTH)), f"1 of 24 components {BEYOND}"),
    "means of patches": (
        lambda inputs: MeanAblation("image", large(16, WIDTH), STREAM),
        f"32 of 768 components {BEYOND}",
    ),
    "a number": (lambda inputs: ValueAblation("last", -1e6, STREAM), f"1 of 1 components {BEYOND}"),
    "a float64": (
        lambda inputs: ValueAblation("last", torch.full((WIDTH,), 1e300, dtype=torch.float64), STREAM),
        BEYOND,
    ),
    "other patches": (lambda inputs: ResampleAblation("image", large(3, WIDTH)), f"3 of 72 components {BEYOND}"),
    "a vector": (lambda inputs: Steer(large(WIDTH), STREAM, "last"), f"scale . vector of Steer.*{BEYOND}"),
    "a scale": (lambda inputs: Steer(torch.ones(WIDTH), STREAM, "last", scale=1e6), f"24 of 24 components {BEYOND}"),
    "a source": (
        lambda inputs: ActivationPatch({STREAM: large(*inputs.shape, WIDTH)}, STREAM, "last"),
        "infinite ones in float16",
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_overflows_in_the_models_precision_is_refused_before_it_runs(
    half: HookedVLM, inputs: Inputs, writer: str
) -> None:
    make, message = WRITERS[writer]
    reached: list[str] = []
    one = make(inputs)
    with (
        half.hooks(fwd_hooks=[("vision.hook_patch_embed", lambda activation, hook: reached.append(hook.name))]),
        pytest.raises(HookError, match=message),
    ):
        half.run(inputs, one)
    assert not reached
    if not writer.startswith("a float64"):
        full = tiny_vlm()
        assert full.run(tiny_inputs(full), one).logits.isfinite().all()


@pytest.mark.parametrize("writer", [MeanAblation, ValueAblation])
def test_what_is_large_and_fits_is_written(half: HookedVLM, inputs: Inputs, writer: Any) -> None:
    run = half.run(inputs, writer("image", torch.full((WIDTH,), 6e4)), names_filter="projector.hook_out")
    assert run.cache is not None and (run.cache["projector.hook_out"] == 6e4).all()


def mean_of(vlm: HookedVLM, n: int, factor: float = 1.0) -> Mean:
    """A mean of so many class tokens, or of activations that many times as large."""
    hook = "vision.blocks.0.hook_resid_post"
    with vlm.hooks(fwd_hooks=[(hook, lambda activation, hook: activation * factor)]):
        return MeanEstimator(vlm, hook, positions="cls").update(random_pixels(n)).result()


@pytest.mark.filterwarnings("ignore:.*prepared alike is unknown")
def test_noise_like_a_single_vector_has_no_deviation_and_is_refused() -> None:
    vlm = tiny_vlm()
    hook, given = "vision.blocks.0.hook_resid_post", tiny_inputs(vlm)
    with pytest.raises(HookError, match="a mean of two vectors or more, which deviate, got N=1"):
        vlm.run(given, NoiseAblation("patches", hook, like=mean_of(vlm, 1)))
    assert vlm.run(given, NoiseAblation("patches", hook, like=mean_of(vlm, 2))).logits.isfinite().all()
    vlm.run(given, MeanAblation("patches", mean_of(vlm, 1), hook))  # a mean of one is one


@pytest.mark.filterwarnings("ignore:.*prepared alike is unknown")
def test_noise_that_may_overflow_is_refused(half: HookedVLM, inputs: Inputs) -> None:
    # The same values: a model whose weights are rounded otherwise is another.
    vlm, hook = HookedVLM.from_hf(new_checkpoint().half().float()), "vision.blocks.0.hook_resid_post"
    mean = mean_of(vlm, 5)
    largest = float((mean.value.abs() + 6.0 * mean.deviation()).max())
    fits, exceeds = (NoiseAblation("patches", hook, scale=scale, like=mean) for scale in (1.0, 1e6))
    assert largest < 65504
    assert half.run(inputs, fits).logits.isfinite().all()
    with pytest.raises(HookError, match=BEYOND):
        half.run(inputs, exceeds)
    with pytest.raises(HookError, match=BEYOND):
        half.run(inputs, NoiseAblation("patches", hook, like=mean_of(vlm, 5, factor=1e6)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_precision_of_a_hook_is_that_of_its_activations(dtype: torch.dtype) -> None:
    vlm = HookedVLM.from_hf(new_checkpoint()).to(dtype)
    clip = HookedCLIP.from_hf(new_clip()).to(dtype)
    texts = torch.randint(300, 499, (1, 5), generator=torch.Generator().manual_seed(0))
    for model, given in ((vlm, tiny_inputs(vlm)), (clip, {"pixel_values": random_pixels(1), "input_ids": texts})):
        _, cache = model.run_with_cache(given, names_filter=lambda name: not name.endswith("hook_mask"))
        assert len(list(cache)) > 100
        assert {name: cache[name].dtype for name in cache} == {name: activation_dtype(model, name) for name in cache}
