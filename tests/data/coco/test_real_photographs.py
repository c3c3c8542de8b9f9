"""32 photographs of COCO with its own masks, as pycocotools reads them.

They are not in the repository: VLM_LENS_REAL_DATA names the folder that `coco` lies in. Without it these tests are
skipped.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from vlm_lens.data import Dataset
from vlm_lens.data.coco import read_coco

_BESIDE = Path(__file__).resolve().parents[4] / "shared" / "real"
FOLDER = Path(os.environ.get("VLM_LENS_REAL_DATA") or _BESIDE) / "coco"

pytestmark = pytest.mark.skipif(
    not (FOLDER / "instances.json").is_file(), reason="no photographs of COCO at hand: set VLM_LENS_REAL_DATA"
)


@cache
def photographs() -> Dataset:
    return read_coco(FOLDER)


def test_there_are_32_photographs_with_180_instances() -> None:
    assert len(photographs()) == 32
    assert sum(len(one.annotations) for one in photographs()) == 180
    assert sum(one.is_crowd for example in photographs() for one in example.annotations) == 1


def test_every_photograph_is_of_the_size_that_is_said() -> None:
    for one in photographs():
        assert (one.image.height, one.image.width) == one.size


# numpy says it of pycocotools' own decoder.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_masks_areas_and_categories_are_those_of_pycocotools() -> None:
    coco = COCO(FOLDER / "instances.json")
    for example in photographs():
        records = coco.imgToAnns[int(example.id)]
        assert len(records) == len(example.annotations)
        for record, found in zip(records, example.annotations, strict=True):
            assert found.category == coco.cats[record["category_id"]]["name"]
            assert np.array_equal(found.mask, coco.annToMask(record).astype(bool))
            assert found.area == record["area"] == found.mask.sum()
