"""A mean is of pictures prepared in one way, and is refused for pictures that were prepared in another."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.inputs.tiny_processors import processor_of
from tests.model.tiny_vlms import new_checkpoint, tiny_checkpoint, tiny_inputs, tiny_vlm
from vlm_lens import HookedVLM
from vlm_lens.errors import EstimateError, InputError
from vlm_lens.estimates import MeanEstimator
from vlm_lens.interventions import MeanAblation, NoiseAblation
from vlm_lens.layout import Except, PixelGeometry, geometry_of, pads_to_square

PROMPT = "What is this?"


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


WIDE, TALL, SQUARE = picture(30, 60), picture(60, 30), picture(40, 40)


@pytest.fixture(scope="module")
def vlm() -> HookedVLM:
    return HookedVLM.from_hf(tiny_checkpoint(), processor_of())


@pytest.mark.parametrize("pads", [False, True])
@pytest.mark.parametrize("shown", [WIDE, TALL], ids=["wide", "tall"])
def test_a_mean_is_refused_for_pictures_that_are_padded_otherwise(
    vlm: HookedVLM, pads: bool, shown: Image.Image
) -> None:
    mean = MeanEstimator(vlm, pad_to_square=pads).estimate([WIDE, TALL], shows_progress=False)
    same = vlm.prepare(shown, PROMPT, pad_to_square=pads)
    other = vlm.prepare([SQUARE, shown], [PROMPT, PROMPT], pad_to_square=not pads)
    for ablation in (MeanAblation("image", mean), NoiseAblation("image", like=mean)):
        vlm.run(same, ablation)
        with pytest.raises(EstimateError, match=f"expected pad_to_square={pads}, got .*={not pads} .row 1, image 0"):
            vlm.run(other, ablation)


def test_a_square_picture_and_bare_pixels_are_the_same_either_way(vlm: HookedVLM) -> None:
    mean = MeanEstimator(vlm, pad_to_square=True).estimate([WIDE, TALL], shows_progress=False)
    squares = [vlm.prepare(SQUARE, PROMPT, pad_to_square=pads) for pads in (False, True)]
    plain, padded = (vlm.run(inputs, MeanAblation("image", mean)).logits for inputs in squares)
    assert torch.equal(plain, padded)
    prepared = vlm.prepare(WIDE, PROMPT)
    vlm.run({name: prepared[name] for name in prepared}, MeanAblation("image", mean))


def test_inputs_are_taken_in_as_they_were_prepared_or_refused(vlm: HookedVLM) -> None:
    for pads in (False, True):
        inputs = vlm.prepare([WIDE, SQUARE], [PROMPT, PROMPT], pad_to_square=pads)
        mean = MeanEstimator(vlm, pad_to_square=pads).update(inputs).result()
        assert mean.manifest.pad_to_square is pads
        with pytest.raises(EstimateError, match=f"expected pad_to_square={not pads}, got pad_to_square={pads}"):
            MeanEstimator(vlm, pad_to_square=not pads).update(inputs)


@pytest.mark.parametrize(
    "size, pads, expected",
    [((30, 60), True, True), ((60, 31), True, True), ((30, 60), False, False), ((40, 40), True, None)],
)
def test_the_geometry_says_whether_a_picture_was_padded(
    size: tuple[int, int], pads: bool, expected: bool | None
) -> None:
    assert geometry_of(processor_of().image_processor, size, pad_to_square=pads).is_padded_to_square is expected
    assert PixelGeometry((3, 4)).is_padded_to_square is False


def test_a_crop_to_a_square_is_no_padding() -> None:
    crops = SimpleNamespace(do_resize=False, do_center_crop=True, crop_size={"height": 60, "width": 60})
    assert geometry_of(crops, (60, 90)).is_padded_to_square is False
    own = SimpleNamespace(do_pad=True, pad_to_square=print)
    assert pads_to_square(own) and not pads_to_square(crops) and not pads_to_square(None)
    assert geometry_of(own, (60, 90)).is_padded_to_square


def test_an_image_processor_that_pads_by_itself_is_known_to(vlm: HookedVLM) -> None:
    transformers = pytest.importorskip("transformers")
    processor = processor_of()
    processor.image_processor = transformers.LlavaImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, do_pad=True
    )
    own = HookedVLM.from_hf(tiny_checkpoint(), processor)
    mean = MeanEstimator(own).estimate([WIDE, TALL], shows_progress=False)
    assert mean.manifest.pad_to_square
    own.run(own.prepare(WIDE, PROMPT), MeanAblation("image", mean))


def test_unknown_preprocessing_is_said_and_not_passed_over(vlm: HookedVLM) -> None:
    bare, inputs = HookedVLM.from_hf(new_checkpoint()), tiny_inputs(vlm)
    known = MeanEstimator(vlm).update(inputs["pixel_values"]).result()
    unknown = MeanEstimator(bare).update(inputs["pixel_values"]).result()
    vlm.run(inputs, MeanAblation("image", known))
    for model, mean, who in (
        (bare, known, "the model at hand has no image processor"),
        (vlm, unknown, "the model that it was made with has no image processor"),
        (tiny_vlm(), unknown, "the model at hand has no image processor"),
    ):
        with pytest.warns(UserWarning, match=f"prepared alike is unknown, as {who}"):
            model.run(inputs, MeanAblation("image", mean))


def test_positions_are_told_apart_however_large_they_are(vlm: HookedVLM) -> None:
    mask = torch.zeros(2000, dtype=torch.bool)
    other = mask.clone()
    other[1000] = True
    assert repr(mask) == repr(other).replace("True", "False")  # what torch leaves out of so long a tensor
    mine, theirs = (MeanEstimator(vlm, "hook_embed", one) for one in (mask, other))
    assert mine.manifest().positions != theirs.manifest().positions
    with pytest.raises(EstimateError, match=r"positions 'Tensor\(2000\) \(\w{16}\)'"):
        mine.merged(theirs)
    assert MeanEstimator(vlm, "hook_embed", mask.clone()).manifest() == mine.manifest()
    assert MeanEstimator(vlm, "hook_embed", "image").manifest().positions == "'image'"
    region = vlm.prepare(SQUARE, PROMPT).layout.patches(rows=[0])
    for selector in (region, Except("image", but=[3]), {0: "image"}, ["image", -1], np.arange(3)):
        assert MeanEstimator(vlm, "hook_embed", selector).manifest().positions.endswith(")")
    with pytest.raises(InputError, match="Fingerprint failed"):
        MeanEstimator(vlm, "hook_embed", iter([1, 2]))
