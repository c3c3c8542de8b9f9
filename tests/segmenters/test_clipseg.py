"""CLIPSeg with random weights, against the model of `transformers` called as its documentation does."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from tests.inputs.tiny_processors import picture
from tests.segmenters.tiny_clipseg import SIDE, new_clipseg, saved_clipseg
from vlm_lens.errors import CheckpointError, InputError
from vlm_lens.segmenters import CLIPSegSegmenter, segmenter_named

TEXTS = ["a cat", "the lazy dog in this image", "no", *[f"a {letter}" for letter in "abcdefghijklmnopqrst"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_clipseg(tmp_path_factory.mktemp("clipseg"))


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> CLIPSegSegmenter:
    return CLIPSegSegmenter(folder)


def by_transformers(segmenter: CLIPSegSegmenter, image: Image.Image, texts: list[str]) -> np.ndarray:
    """One forward pass of the whole model for each text, with its own copy of the picture."""
    maps = []
    for text in texts:
        inputs = segmenter._processor(text=[text], images=[image], return_tensors="pt")
        with torch.no_grad():
            maps.append(new_clipseg()(**inputs).logits)
    full = functional.interpolate(torch.stack(maps), size=image.size[::-1], mode="bilinear", align_corners=False)
    return full[:, 0].sigmoid().numpy()


def test_scores_are_those_of_the_whole_model_for_each_text(segmenter: CLIPSegSegmenter) -> None:
    """More texts than are decoded at once, of several lengths, over one picture that was encoded once."""
    image = picture(40, 60)
    found = segmenter.segment(image, TEXTS)
    assert found.shape == (len(TEXTS), 40, 60) and found.dtype == np.float32
    expected = by_transformers(segmenter, image, TEXTS)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.ptp(expected, axis=0).max() > 0.1  # texts draw other maps
    assert np.ptp(expected, axis=(1, 2)).min() > 0.01  # and maps are not flat


def test_a_text_has_the_same_map_alone_and_again(segmenter: CLIPSegSegmenter) -> None:
    image = picture(30, 30, seed=1)
    together = segmenter.segment(image, TEXTS[:3])
    np.testing.assert_allclose(segmenter.segment(image, [TEXTS[1]])[0], together[1], atol=1e-6)


def test_the_map_lies_over_the_whole_picture(segmenter: CLIPSegSegmenter) -> None:
    """A picture that was stretched before gives the same map, stretched: nothing is cut off."""
    wide = picture(SIDE, SIDE).resize((2 * SIDE, SIDE), Image.Resampling.NEAREST)
    square = wide.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    found, expected = (torch.from_numpy(segmenter.segment(one, ["a cat"])) for one in (wide, square))
    stretched = functional.interpolate(
        expected[None].logit(), size=(SIDE, 2 * SIDE), mode="bilinear", align_corners=False
    ).sigmoid()
    torch.testing.assert_close(found[None], stretched, atol=1e-4, rtol=0)
    assert np.ptp(expected.numpy()) > 0.1


def test_a_grey_picture_is_a_picture(segmenter: CLIPSegSegmenter) -> None:
    grey = picture().convert("L")
    np.testing.assert_array_equal(segmenter.segment(grey, ["a cat"]), segmenter.segment(grey.convert("RGB"), ["a cat"]))


def test_a_template_is_what_is_asked(folder: Path, segmenter: CLIPSegSegmenter) -> None:
    templated = CLIPSegSegmenter(folder, template="a {} in this image")
    found = templated.segment(picture(), ["cat"])
    np.testing.assert_allclose(found, segmenter.segment(picture(), ["a cat in this image"]), atol=1e-6)
    assert templated.fingerprint() != segmenter.fingerprint()


def test_the_fingerprint_is_of_contents(folder: Path, segmenter: CLIPSegSegmenter, tmp_path: Path) -> None:
    copied = CLIPSegSegmenter(shutil.copytree(folder, tmp_path / "copy"))
    other = CLIPSegSegmenter(saved_clipseg(tmp_path / "other", seed=1))
    sharper = CLIPSegSegmenter(saved_clipseg(tmp_path / "sharper", image_mean=[0.5, 0.5, 0.5]))
    prints = [one.fingerprint() for one in (segmenter, other, sharper)]
    assert copied.fingerprint() == prints[0] and len(set(prints)) == 3


def test_an_old_file_of_the_image_processor_is_read(folder: Path, segmenter: CLIPSegSegmenter, tmp_path: Path) -> None:
    """As the published checkpoints have it: one number for the size, the name of a feature extractor."""
    old = shutil.copytree(folder, tmp_path / "old")
    (old / "processor_config.json").unlink()
    settings = {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ViTFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "size": SIDE,
    }
    (old / "preprocessor_config.json").write_text(json.dumps(settings))
    found = CLIPSegSegmenter(old).segment(picture(), ["a cat"])
    np.testing.assert_allclose(found, segmenter.segment(picture(), ["a cat"]), atol=1e-6)


def test_a_segmenter_by_its_name(folder: Path, segmenter: CLIPSegSegmenter) -> None:
    assert segmenter_named(f"clipseg:{folder}").fingerprint() == segmenter.fingerprint()
    for name in ("clipseg", "clipseg:", "given:there", "sam"):
        with pytest.raises(InputError, match="given or clipseg:FOLDER"):
            segmenter_named(name)


def test_texts_that_cannot_be_asked_are_refused(segmenter: CLIPSegSegmenter) -> None:
    with pytest.raises(InputError, match="at least one text"):
        segmenter.segment(picture(), [])
    with pytest.raises(InputError, match="at least one word"):
        segmenter.segment(picture(), ["a cat", " "])
    with pytest.raises(InputError, match="at most 20 tokens, got .* Name the object alone"):
        segmenter.segment(picture(), ["the quick brown fox jumps over the lazy dog " * 3])
    with pytest.raises(InputError, match="one {} in it"):
        CLIPSegSegmenter("nowhere", template="a photo")


def test_what_is_no_checkpoint_of_clipseg_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="a checkpoint of CLIPSeg"):
        CLIPSegSegmenter(tmp_path)
    llama = tmp_path / "llama"
    llama.mkdir()
    (llama / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(CheckpointError, match="got llama in"):
        CLIPSegSegmenter(llama)
    torn = shutil.copytree(folder, tmp_path / "torn")
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="a checkpoint of CLIPSeg"):
        CLIPSegSegmenter(torn)
    cut = saved_clipseg(tmp_path / "cut", size={"shortest_edge": SIDE})
    with pytest.raises(InputError, match="cuts nothing"):
        CLIPSegSegmenter(cut)
