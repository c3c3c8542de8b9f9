"""Settings that move pixels are followed or refused, never guessed."""

from types import SimpleNamespace

import pytest
from transformers import CLIPImageProcessorPil

from tests.layout.real_processors import PROCESSORS
from vlm_lens.errors import UnsupportedModelError
from vlm_lens.layout import Resize, Window, geometry_of


def test_llavas_own_padding_is_an_option_that_comes_before_the_resize() -> None:
    geometry = geometry_of(PROCESSORS["clip"](), (10, 41), pad_to_square=True)
    assert geometry.steps == (Window(-15, 0, 41, 41), Resize(28, 28))
    asked_by_the_processor = geometry_of(PROCESSORS["llava pads to a square"](), (10, 41))
    assert asked_by_the_processor == geometry


def test_steps_that_change_nothing_are_left_out() -> None:
    assert geometry_of(PROCESSORS["clip"](), (28, 28)).steps == ()


def test_torchvision_puts_the_spare_pixel_of_an_odd_pad_after_the_picture() -> None:
    settings = dict(do_center_crop=True, crop_size={"height": 8, "width": 8})
    pil = geometry_of(SimpleNamespace(backend="pil", **settings), (5, 8))
    torchvision = geometry_of(SimpleNamespace(backend="torchvision", **settings), (5, 8))
    assert (pil.steps, torchvision.steps) == ((Window(-2, 0, 8, 8),), (Window(-1, 0, 8, 8),))


@pytest.mark.parametrize(
    "settings",
    [
        dict(do_resize=True, size={"longest_edge": 28}),
        dict(do_resize=True, size={"min_pixels": 100, "max_pixels": 900}),
        dict(do_resize=True, size=28),
        dict(do_resize=True),
        dict(do_center_crop=True, crop_size={"shortest_edge": 28}),
        dict(do_pad=True),
        dict(do_image_splitting=True),
        dict(do_thumbnail=True),
        dict(_valid_kwargs_names=["crop_pct"], crop_pct=0.9),
    ],
    ids=str,
)
def test_what_is_not_understood_is_refused(settings: dict) -> None:
    with pytest.raises(UnsupportedModelError, match="Geometry of SimpleNamespace is not known"):
        geometry_of(SimpleNamespace(**settings), (30, 40))


def test_a_switch_that_is_off_is_no_reason_to_refuse() -> None:
    processor = CLIPImageProcessorPil()
    processor.do_thumbnail = False
    assert geometry_of(processor, (224, 224)).steps == ()
