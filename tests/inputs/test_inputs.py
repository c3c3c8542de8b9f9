"""Inputs are a value and a mapping."""

import pytest
import torch

from tests.inputs.test_prepare import LITERAL, made
from tests.inputs.tiny_processors import picture


def test_they_are_what_a_transformers_model_takes() -> None:
    inputs = made(picture(), LITERAL)
    taken = dict(**inputs)
    assert list(taken) == ["input_ids", "attention_mask", "pixel_values"]
    assert taken["pixel_values"] is inputs.pixel_values
    assert inputs.shape == inputs.input_ids.shape
    with pytest.raises(KeyError):
        inputs["layout"]


def test_moving_changes_the_type_of_pixels_and_not_of_tokens() -> None:
    inputs = made(picture(), LITERAL)
    moved = inputs.to("meta", torch.bfloat16)
    assert (moved.pixel_values.dtype, moved.input_ids.dtype) == (torch.bfloat16, torch.int64)
    assert {value.device.type for value in moved.values()} == {"meta"}
    assert moved.layout is inputs.layout
    assert inputs.pixel_values.dtype == torch.float32


def test_they_are_equal_to_themselves_alone() -> None:
    inputs, same = made(picture(), LITERAL), made(picture(), LITERAL)
    assert inputs == inputs and inputs != same
    assert len({inputs, same}) == 2


def test_they_show_pictures_and_escape_the_prompt() -> None:
    inputs = made([picture(), None], [LITERAL, "<script>alert(1)</script>"])
    html = inputs._repr_html_()
    assert html.count("data:image/png;base64,") == 1
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "image&nbsp;x&nbsp;16" in html
