"""What a processor returned is understood as well as what prepare makes."""

import numpy as np
import pytest
import torch

from tests.inputs.tiny_processors import grid_for, picture, processor_of
from vlm_lens.errors import InputError
from vlm_lens.inputs import Inputs, inputs_from_mapping, prepare

PROMPTS = ["USER: <image>\nIs it a café? ASSISTANT: It is a", "Hi. USER: <image>\n<image>\nWhich? ASSISTANT:"]
PICTURES = [picture(), picture(33, 29, 1), picture(28, 28, 2)]


def understood(mapping: object, **options: object) -> Inputs:
    return inputs_from_mapping(mapping, image_token_id=processor_of().image_token_id, grid_for=grid_for, **options)


@pytest.mark.parametrize("kind", ["sentencepiece", "byte level"])
def test_it_has_the_layout_that_prepare_gives(kind: str) -> None:
    processor = processor_of(kind)
    processor.tokenizer.padding_side = "left"
    theirs = processor(images=[PICTURES[:1], PICTURES[1:]], text=PROMPTS, padding=True, return_tensors="pt")
    inputs = understood(
        theirs,
        tokenizer=processor.tokenizer,
        image_processor=processor.image_processor,
        original_sizes=[(p.height, p.width) for p in PICTURES],
    )
    ours = prepare(
        processor, [PICTURES[0], PICTURES[1:]], PROMPTS,
        image_token_id=processor.image_token_id, grid_for=grid_for,
    )  # fmt: skip
    assert torch.equal(inputs.input_ids, ours.input_ids)
    for row in range(2):
        assert inputs.layout.roles(row) == ours.layout.roles(row)
        for mine, other in zip(inputs.layout.images[row], ours.layout.images[row], strict=True):
            assert (mine.start, mine.grid, mine.geometry) == (other.start, other.grid, other.geometry)
    mask = np.zeros((33, 29), bool)
    mask[5:9, 3:20] = True
    assert inputs.layout.region(mask, image=0, row=1).positions == ours.layout.region(mask, image=0, row=1).positions
    assert inputs.layout.find("Which", row=1) == ours.layout.find("Which", row=1) != ()


def test_padding_on_the_right_is_padding_too() -> None:
    processor = processor_of()
    theirs = processor(
        images=[PICTURES[:1], PICTURES[1:]], text=PROMPTS, padding=True, padding_side="right",
        return_tensors="pt",
    )  # fmt: skip
    layout = understood(theirs, tokenizer=processor.tokenizer).layout
    n_tokens = int(theirs["attention_mask"][0].sum())
    assert layout.positions("last") == (n_tokens - 1,)
    assert len(layout.positions("pad")) == theirs["input_ids"].shape[1] - n_tokens


def test_without_a_tokenizer_and_sizes_it_knows_images_padding_and_the_rest() -> None:
    theirs = processor_of()(images=PICTURES[0], text=PROMPTS[0], return_tensors="pt")
    layout = understood({"input_ids": theirs["input_ids"][0], "pixel_values": theirs["pixel_values"][0]}).layout
    assert set(layout.roles()) == {"image", "question"}
    assert len(layout.patches(rows=0)) == 4
    with pytest.raises(InputError, match="Pixels of the original are unknown"):
        layout.region(np.ones((40, 60), bool))


def mapping_with(**changes: object) -> dict:
    theirs = processor_of()(images=PICTURES[0], text=PROMPTS[0], return_tensors="pt")
    mapping = dict(theirs) | changes
    return {name: value for name, value in mapping.items() if value is not None}


def one_image_token_less() -> dict:
    mapping = mapping_with()
    ids = mapping["input_ids"][0]
    first = int((ids == processor_of().image_token_id).nonzero()[0])
    keep = torch.arange(len(ids)) != first
    return mapping | {"input_ids": ids[None, keep], "attention_mask": mapping["attention_mask"][:, keep]}


@pytest.mark.parametrize(
    ("mapping", "options", "message"),
    [
        (
            one_image_token_less(),
            {},
            "^Image token count does not match the patch grid: expected 4 x 4 = 16, got 15. "
            "Pass the processor's input_ids unmodified.$",
        ),
        (mapping_with(), {"n_class_tokens": 1}, r"expected 4 x 4 \+ 1 = 17, got 16"),
        (mapping_with(pixel_values=torch.zeros(2, 3, 28, 28)), {}, "2 images of 4 x 4 = 16, got 16 in all"),
        (mapping_with(pixel_values=None), {}, "expected pixel_values, got 16 image tokens"),
        (mapping_with(input_ids=None), {}, "expected input_ids"),
        (mapping_with(image_sizes=[1]), {}, "Leave out image_sizes"),
        (mapping_with(input_ids=torch.zeros(1, 4)), {}, "input_ids is not understood: .*float"),
        (mapping_with(attention_mask=torch.ones(1, 3, dtype=int)), {}, "Attention mask does not match"),
        (mapping_with(pixel_values=torch.zeros(1, 5, 3, 28, 28)), {}, "pixel_values is not understood"),
        (mapping_with(), {"max_length": 5}, "longer than the context"),
        (mapping_with(), {"original_sizes": [(40, 60)]}, "an image processor and 1 sizes"),
    ],
    ids=str,
)
def test_what_cannot_be_understood_is_refused(mapping: dict, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        understood(mapping, **options)


def test_sizes_that_cannot_lead_to_the_pixels_are_refused() -> None:
    processor = processor_of()
    processor.image_processor.do_center_crop = False
    with pytest.raises(InputError, match="Original size does not lead to pixel_values"):
        understood(mapping_with(), image_processor=processor.image_processor, original_sizes=[(40, 60)])
