"""The mean that ablations write: which pictures it is of, and that it is made once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.experiments.described_scenes import demo
from vlm_lens.data import Dataset, Example, read_scenes
from vlm_lens.errors import InputError
from vlm_lens.estimates import MeanEstimator
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.mean_pictures import mean_of, pictures_for_mean, told_of_mean, write_mean

OTHERS = "scenes,n=2,first=9900000"


def context_over(data: Dataset, folder: Path) -> Context:
    return Context(demo(), data, None, 0, folder, shows_progress=False)


def test_scenes_take_the_mean_of_other_scenes(tmp_path: Path) -> None:
    context = context_over(read_scenes(2), tmp_path)
    pictures = pictures_for_mean(context, "")
    assert len(pictures) == 64 and not {one.id for one in pictures} & {one.id for one in context.data}


def test_other_data_take_their_own_pictures_and_say_so(tmp_path: Path) -> None:
    grey = Example("grey", lambda: Image.fromarray(np.full((96, 96, 3), 90, np.uint8)))
    context = context_over(Dataset("folder", "0" * 16, (grey,)), tmp_path)
    assert pictures_for_mean(context, "") is context.data
    assert told_of_mean(context, "") == "1 pictures of folder (the run's own: name others with mean_pictures)"
    assert told_of_mean(context, OTHERS).startswith("2 pictures of scenes")
    with pytest.raises(InputError, match="one of the formats"):
        write_mean(context, "paintings")


def test_the_mean_is_made_once_and_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    context, place = context_over(read_scenes(1), tmp_path), tmp_path / "mean.safetensors"
    pictures = [one.image for one in pictures_for_mean(context, OTHERS)]

    def breaks_off() -> object:
        yield pictures[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MeanEstimator(demo()).estimate(breaks_off(), out=place, batch_size=16, shows_progress=False)
    write_mean(context, OTHERS)
    whole = MeanEstimator(demo()).estimate(pictures, shows_progress=False)
    torch.testing.assert_close(mean_of(context).value, whole.value, rtol=1e-5, atol=1e-6)
    before = place.stat().st_mtime_ns
    write_mean(context, OTHERS)
    assert place.stat().st_mtime_ns == before
