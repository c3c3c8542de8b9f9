"""Masks from files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_lens.errors import InputError
from vlm_lens.report import bundled_questions, read_mask

MASK = np.zeros((6, 8), dtype=bool)
MASK[2:4, 3:7] = True


@pytest.mark.parametrize("value", [1, 255])
def test_what_is_not_black_belongs_to_the_object(tmp_path: Path, value: int) -> None:
    Image.fromarray(MASK.astype(np.uint8) * value).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), MASK)


def test_a_colour_mask_is_read_alike(tmp_path: Path) -> None:
    Image.fromarray(np.where(MASK[..., None], [128, 0, 0], 0).astype(np.uint8)).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), MASK)


def test_a_lossy_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(MASK.astype(np.uint8) * 255).save(tmp_path / "mask.jpg")
    with pytest.raises(InputError, match="lossless"):
        read_mask(tmp_path / "mask.jpg")


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_file_that_is_no_picture_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "mask.png").write_bytes(content)
    with pytest.raises(InputError, match="picture file"):
        read_mask(tmp_path / "mask.png")


def test_bundled_questions_are_scenes_and_a_photograph() -> None:
    *scenes, photograph = bundled_questions()
    assert len(scenes) >= 4
    assert all(question.mask is None or question.mask.any() for question in scenes)
    assert sum(question.mask is not None for question in scenes) >= 3
    assert photograph.mask is None and np.asarray(photograph.image).shape[2] == 3
