"""Means over pictures: those of everything at once, whatever the batches, and tied to what they were made with.

Against everything at once the tolerance is 1e-12 of the sums, which are fp64; activations of another batch size come
from kernels that sum in another order in fp32, so batches are the same where bits or 1e-12 are asked for.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import LlamaForCausalLM

from tests.inputs.tiny_processors import processor_of
from tests.model.tiny_vlms import new_checkpoint, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import llama, new_clip, random_pixels
from vlm_lens import HookedCLIP, HookedTransformer, HookedVLM
from vlm_lens.errors import CheckpointError, EstimateError, HookError, InputError
from vlm_lens.estimates import Mean, MeanEstimator
from vlm_lens.interventions import MeanAblation, NoiseAblation

PROMPT = "What is this?"


def pictures(n: int, seed: int = 0) -> list[Image.Image]:
    random = np.random.default_rng(seed)
    return [Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8)) for _ in range(n)]


@pytest.fixture(scope="module")
def vlm() -> HookedVLM:
    return HookedVLM.from_hf(tiny_checkpoint(), processor_of())


def all_at_once(vlm: HookedVLM, hook: str, batches: list[Any]) -> np.ndarray:
    """Every activation, kept: batch by batch, as the estimator sees them."""
    kept = []
    for batch in batches:
        kept.append(vlm.run_with_cache(batch, names_filter=hook)[1][hook].double().numpy())
    return np.concatenate(kept)


@pytest.mark.parametrize(
    "hook", ["projector.hook_out", "vision.blocks.1.hook_resid_post", "vision.blocks.0.attn.hook_z"]
)
@pytest.mark.parametrize("per_position", [False, True])
def test_a_streamed_mean_is_that_of_everything_at_once(vlm: HookedVLM, hook: str, per_position: bool) -> None:
    images, estimator = pictures(7), MeanEstimator(vlm, hook, "image", per_position)
    batches = [images[:3], images[3:4], images[4:]]
    for batch in batches:
        estimator.update(batch)
    mean = estimator.result()
    values = all_at_once(vlm, hook, [vlm.prepare(batch, [PROMPT] * len(batch)) for batch in batches])
    first_patch = 1 if hook.startswith("vision") else 0
    values = values[:, first_patch:]
    if per_position:
        assert mean[hook][:first_patch].isnan().all()
        found, variance, axis = mean[hook][first_patch:], mean.variance()[first_patch:], 0
    else:
        found, variance, axis = mean[hook], mean.variance(), (0, 1)
    np.testing.assert_allclose(found.numpy(), values.mean(axis=axis), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(variance.numpy(), values.var(axis=axis, ddof=1), rtol=1e-12, atol=1e-12)
    assert mean.manifest.n_items == 7
    assert mean.n() == (0 if per_position and first_patch else 7 if per_position else 7 * 16)


@pytest.mark.parametrize("per_position", [False, True])
def test_a_decoder_mean_counts_the_positions_asked_for(vlm: HookedVLM, per_position: bool) -> None:
    hook, prompts = "blocks.*.hook_resid_post", ["What?", "Where is the small bird now?"]
    inputs = vlm.prepare(pictures(2), prompts)
    mean = MeanEstimator(vlm, hook, "image", per_position).update(inputs).result()
    assert list(mean) == ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]
    for name in mean:
        values = vlm.run_with_cache(inputs, names_filter=name)[1][name].double()
        values = values[inputs.input_ids == vlm.image_token_id].view(2, 16, 24)
        plain = values.mean(dim=0) if per_position else values.mean(dim=(0, 1))
        torch.testing.assert_close(mean[name], plain, rtol=1e-12, atol=1e-12)
    text = MeanEstimator(vlm, "hook_embed", "prompt_text").update(pictures(2), prompts).result()
    values = vlm.run_with_cache(inputs, names_filter="hook_embed")[1]["hook_embed"].double()
    is_text = (inputs.input_ids != vlm.image_token_id) & inputs.attention_mask.bool()
    torch.testing.assert_close(text.value, values[is_text].mean(dim=0), rtol=1e-12, atol=1e-12)
    assert text.n() == int(is_text.sum())


def test_merged_parts_are_the_whole(vlm: HookedVLM) -> None:
    images, whole = pictures(6), MeanEstimator(vlm)
    parts = [MeanEstimator(vlm) for _ in range(3)]
    for number, part in enumerate(parts):
        batch = images[2 * number : 2 * number + 2]
        part.update(batch)
        whole.update(batch)
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = parts[order[0]].merged(parts[order[1]].merged(parts[order[2]])).result()
        torch.testing.assert_close(merged.value, whole.result().value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(merged.variance(), whole.result().variance(), rtol=1e-12, atol=1e-12)
        assert merged.n() == whole.result().n() == 96
    assert torch.equal(MeanEstimator(vlm).merged(parts[0]).result().value, parts[0].result().value)
    with pytest.raises(EstimateError, match="hooks"):
        parts[0].merged(MeanEstimator(vlm, "projector.hook_in"))


class Interrupted(list[Any]):
    """Pictures, and Ctrl-C in the middle of them."""

    stop = 5

    def __iter__(self) -> Iterator[Any]:
        for number, one in enumerate(super().__iter__()):
            if number == self.stop:
                raise KeyboardInterrupt
            yield one


@pytest.mark.parametrize(
    "hook, prompt", [("projector.hook_out", None), ("blocks.0.hook_resid_post", PROMPT)], ids=["projector", "decoder"]
)
def test_an_interrupted_estimate_goes_on_to_the_same_bits(
    vlm: HookedVLM, tmp_path: Path, hook: str, prompt: str | None
) -> None:
    images, out = pictures(9), tmp_path / "mean.safetensors"
    options = dict(batch_size=2, shows_progress=False)
    unbroken = MeanEstimator(vlm, hook).estimate(images, prompt, **options)
    with pytest.raises(KeyboardInterrupt):
        MeanEstimator(vlm, hook).estimate(Interrupted(images), prompt, out=out, **options)
    with pytest.raises(EstimateError, match="interrupted after 4 pictures"):
        Mean.load(out)
    resumed = MeanEstimator(vlm, hook).estimate(images, prompt, out=out, **options)
    for one in (resumed, Mean.load(out)):
        assert torch.equal(one.value, unbroken.value) and torch.equal(one.variance(), unbroken.variance())
        assert one.manifest == resumed.manifest
    assert resumed.manifest == unbroken.manifest
    again = MeanEstimator(vlm, hook).estimate(images, prompt, out=out, **options)
    assert torch.equal(again.value, unbroken.value)


def test_a_resumed_estimate_does_not_run_again_what_it_has_seen(vlm: HookedVLM, tmp_path: Path) -> None:
    images, out, n_seen = pictures(6), tmp_path / "mean.safetensors", []

    def count(activation: Tensor, hook: Any) -> None:
        n_seen.append(len(activation))

    with pytest.raises(KeyboardInterrupt):
        MeanEstimator(vlm).estimate(Interrupted(images), batch_size=2, out=out, shows_progress=False)
    with vlm.hooks(fwd_hooks=[("projector.hook_out", count)]):
        MeanEstimator(vlm).estimate(images, batch_size=2, out=out, shows_progress=False)
    assert n_seen == [2]


def test_an_estimate_refuses_to_go_on_with_others(vlm: HookedVLM, tmp_path: Path) -> None:
    images, out = pictures(6), tmp_path / "mean.safetensors"
    estimate = dict(batch_size=2, out=out, shows_progress=False)
    with pytest.raises(KeyboardInterrupt):
        MeanEstimator(vlm).estimate(Interrupted(images), **estimate)
    for given in (images[::-1], pictures(6, seed=1), images[:3]):
        with pytest.raises(EstimateError, match="the 4 pictures seen so far"):
            MeanEstimator(vlm).estimate(given, **estimate)
    for estimator, options, message in (
        (MeanEstimator(vlm), {**estimate, "batch_size": 3}, "batch_size 2"),
        (MeanEstimator(vlm, "projector.hook_in"), estimate, "hooks"),
        (MeanEstimator(vlm, per_position=True), estimate, "per_position"),
        (MeanEstimator(vlm, dtype=torch.float32), estimate, "dtype"),
        (MeanEstimator(vlm, pad_to_square=True), estimate, "pad_to_square"),
    ):
        with pytest.raises(EstimateError, match=message):
            estimator.estimate(images, **options)
    assert MeanEstimator(vlm).estimate(images, **estimate).manifest.n_items == 6


def test_pictures_come_as_files_arrays_and_pairs(vlm: HookedVLM, tmp_path: Path) -> None:
    images = pictures(3)
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    files = sorted(tmp_path.glob("*.png"))
    plain = MeanEstimator(vlm).estimate(images, shows_progress=False)
    for given in (files, [str(file) for file in files], [np.asarray(image) for image in images]):
        assert torch.equal(MeanEstimator(vlm).estimate(given, shows_progress=False).value, plain.value)
    assert torch.equal(MeanEstimator(vlm).estimate(iter(images), shows_progress=False).value, plain.value)
    hook = "blocks.0.hook_mlp_out"
    pairs = [(image, PROMPT) for image in images]
    asked = MeanEstimator(vlm, hook).estimate(pairs, shows_progress=False)
    assert torch.equal(asked.value, MeanEstimator(vlm, hook).estimate(images, PROMPT, shows_progress=False).value)
    with pytest.raises(InputError, match="a prompt, as the decoder is run"):
        MeanEstimator(vlm, hook).update(images)


def test_one_picture_is_one_picture_and_not_its_rows(vlm: HookedVLM, tmp_path: Path) -> None:
    image = pictures(1)[0]
    image.save(path := tmp_path / "one.png")
    plain = MeanEstimator(vlm).estimate([image], shows_progress=False)
    array = np.asarray(image)
    for given in (image, path, str(path), array, torch.tensor(array), torch.tensor(array).permute(2, 0, 1)):
        mean = MeanEstimator(vlm).estimate(given, shows_progress=False)
        assert mean.manifest.n_items == 1 and mean.n() == 16
        assert torch.equal(mean.value, plain.value)
    with pytest.raises(InputError, match="one row of pixels"):
        MeanEstimator(vlm).estimate(list(array), shows_progress=False)
    with pytest.raises(InputError, match=r"expected pictures, or one, got Inputs. .*update\(inputs\)"):
        MeanEstimator(vlm).estimate(tiny_inputs(vlm), shows_progress=False)
    with pytest.raises(InputError, match="got int"):
        MeanEstimator(vlm).update(3)


def test_fp32_sums_are_close_and_a_mean_survives_a_file(vlm: HookedVLM, tmp_path: Path) -> None:
    images = pictures(4)
    single = MeanEstimator(vlm, dtype=torch.float32).estimate(images, shows_progress=False)
    double = MeanEstimator(vlm).estimate(images, shows_progress=False)
    assert single.value.dtype == torch.float32
    torch.testing.assert_close(single.value.double(), double.value, rtol=1e-5, atol=1e-5)
    loaded = Mean.load(double.save(tmp_path / "mean.safetensors"))
    assert torch.equal(loaded.value, double.value) and loaded.manifest == double.manifest
    assert loaded.fingerprint_parts()[0].keys() == double.fingerprint_parts()[0].keys()
    assert MeanAblation("image", loaded).fingerprint() == MeanAblation("image", double).fingerprint()
    assert "Mean(projector.hook_out, N=64, 4 pictures" in repr(loaded)
    assert loaded.to_dataframe()["n"].tolist() == [64]
    assert str(loaded.manifest.model_hash) in loaded._repr_html_()


def test_a_file_that_was_changed_is_refused(vlm: HookedVLM, tmp_path: Path) -> None:
    path = MeanEstimator(vlm).estimate(pictures(2), shows_progress=False).save(tmp_path / "mean.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="Mean is damaged"):
        Mean.load(path)
    path.write_bytes(whole[:40])
    with pytest.raises(CheckpointError, match="safetensors file"):
        Mean.load(path)
    with pytest.raises(CheckpointError, match="no file at"):
        Mean.load(tmp_path / "other")


def test_a_mean_is_refused_with_another_model_or_preprocessing(vlm: HookedVLM) -> None:
    mean = MeanEstimator(vlm).estimate(pictures(2), shows_progress=False)
    inputs = tiny_inputs(vlm)
    vlm.run(inputs, MeanAblation("image", mean))
    changed = new_checkpoint()
    with torch.no_grad():
        changed.model.multi_modal_projector.linear_1.weight += 0.01
    other = HookedVLM.from_hf(changed, processor_of())
    for ablation in (MeanAblation("image", mean), NoiseAblation("image", like=mean)):
        with pytest.raises(EstimateError, match=r"another model: expected \w+ \(\w{16}\), got \w+ \(\w{16}\)"):
            other.run(inputs, ablation)
    processor = processor_of()
    processor.image_processor.image_mean = [0.5, 0.5, 0.4]
    with pytest.raises(EstimateError, match=r"other preprocessing: expected \{'image_mean'.*0\.4"):
        HookedVLM.from_hf(tiny_checkpoint(), processor).run(inputs, MeanAblation("image", mean))
    # The same weights elsewhere, and a model whose preprocessing is unknown, are the same model.
    HookedVLM.from_hf(new_checkpoint(), processor_of()).run(inputs, MeanAblation("image", mean))
    with pytest.warns(UserWarning, match="the model at hand has no image processor"):
        tiny_vlm().run(inputs, MeanAblation("image", mean))
    with pytest.raises(HookError, match="hooks that vectors were given for"):
        vlm.run(inputs, MeanAblation("image", mean, "hook_embed"))


def test_a_model_is_itself_in_half_precision_and_another_after_training() -> None:
    from vlm_lens.estimates.identity import hash_of

    checkpoint = new_checkpoint()
    vlm = HookedVLM.from_hf(checkpoint)
    before = hash_of(vlm)
    assert hash_of(HookedVLM.from_hf(new_checkpoint().to(torch.bfloat16))) == before
    with torch.no_grad():
        checkpoint.model.language_model.norm.weight.add_(0.1)
    assert hash_of(vlm) != before
    with vlm.hooks(fwd_hooks=[("hook_embed", lambda activation, hook: None)]):
        assert hash_of(vlm) == hash_of(HookedVLM.from_hf(checkpoint))


def test_a_mean_ablates_overall_and_patch_by_patch(vlm: HookedVLM) -> None:
    images, inputs = pictures(4), tiny_inputs(vlm)
    for per_position in (False, True):
        mean = MeanEstimator(vlm, per_position=per_position).estimate(images, shows_progress=False)
        run = vlm.run(inputs, MeanAblation("image", mean), names_filter="projector.hook_out")
        assert run.cache is not None
        written = run.cache["projector.hook_out"]
        assert torch.equal(written, mean.value.float().expand_as(written))
    tower = MeanEstimator(vlm, "vision.blocks.0.hook_resid_post", per_position=True).estimate(
        images, shows_progress=False
    )
    hook = "vision.blocks.0.hook_resid_post"
    vlm.run(inputs, MeanAblation("patches", tower, hook))
    with pytest.raises(HookError, match="finite vectors"):
        vlm.run(inputs, MeanAblation("all", tower, hook))  # the class token was never counted


def test_noise_like_a_mean_has_its_mean_and_deviation(vlm: HookedVLM) -> None:
    mean = MeanEstimator(vlm).estimate(pictures(6), shows_progress=False)
    written = []
    for seed in range(60):
        run = vlm.run(tiny_inputs(vlm), NoiseAblation("image", seed=seed, like=mean), names_filter="projector.hook_out")
        assert run.cache is not None
        written.append(run.cache["projector.hook_out"][0])
    values = torch.cat(written).double()  # 960 draws: their mean is off by 3%, their deviation by 2%
    unit = (values - mean.value) / mean.deviation()
    assert unit.mean(dim=0).abs().max() < 5 / 960**0.5 and (unit.std(dim=0) - 1).abs().max() < 5 / (2 * 960) ** 0.5
    assert NoiseAblation("image", like=mean).overwrites and not NoiseAblation("image").overwrites


def test_clip_and_bare_pixels_are_taken() -> None:
    clip, pixels = HookedCLIP.from_hf(new_clip()), random_pixels(3)
    hook = "vision.blocks.2.hook_resid_post"
    mean = MeanEstimator(clip, hook, "cls").update(pixels).result()
    _, cache = clip.vision.run_with_cache(pixels, names_filter="blocks.2.hook_resid_post")
    torch.testing.assert_close(
        mean.value, cache["blocks.2.hook_resid_post"][:, 0].double().mean(dim=0), rtol=1e-12, atol=1e-12
    )


def test_what_has_no_mean_is_refused(vlm: HookedVLM) -> None:
    with pytest.raises(HookError, match="a vector for each position"):
        MeanEstimator(vlm, "blocks.0.attn.hook_pattern")
    with pytest.raises(EstimateError, match="at least one picture"):
        MeanEstimator(vlm).result()
    with pytest.raises(EstimateError, match="positions within pictures"):
        MeanEstimator(vlm, "hook_embed", "all", per_position=True).update(pictures(1), PROMPT)
    with pytest.raises(EstimateError, match="HookedTransformer of text alone. Average the activations of a run"):
        MeanEstimator(HookedTransformer.from_hf(LlamaForCausalLM(llama())), "hook_embed")
    with pytest.raises(InputError, match="a processor"):
        MeanEstimator(tiny_vlm()).update(pictures(1))

    def spoil(activation: Tensor, hook: Any) -> Tensor:
        return activation / 0.0

    with vlm.hooks(fwd_hooks=[("projector.hook_pre", spoil)]), pytest.raises(EstimateError, match="finite activations"):
        MeanEstimator(vlm).update(pictures(1))
