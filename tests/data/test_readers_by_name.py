"""The readers of parts, questions and the hub as they are asked for on a command line."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlm_lens.data import open_data, read_hub, read_mme, read_ovparts, read_panoptic_parts
from vlm_lens.demo.scenes import draw_scene
from vlm_lens.demo.scenes.panoptic_parts import write_panoptic_parts
from vlm_lens.errors import InputError


def test_panoptic_parts_takes_its_split_parts_and_limit(tmp_path: Path) -> None:
    write_panoptic_parts([draw_scene(seed) for seed in range(3)], tmp_path, "training")
    named = open_data(f"panoptic-parts:{tmp_path},split=training,parts=raw,limit=2")
    assert named.fingerprint == read_panoptic_parts(str(tmp_path), "training", parts="raw", limit=2).fingerprint
    assert len(named) == 2
    with pytest.raises(InputError, match="parts: .*'paper', 'merged' or 'raw'.*got 'coarse'"):
        open_data(f"panoptic-parts:{tmp_path},parts=coarse")


def test_ovparts_takes_its_split(tmp_path: Path) -> None:
    for room, ending in (("images", "jpg"), ("annotations_detectron2_part", "png")):
        (tmp_path / room / "train").mkdir(parents=True)
        Image.fromarray(np.full((2, 2), 43, np.uint8)).save(tmp_path / room / "train" / f"one.{ending}")
    named = open_data(f"ovparts:{tmp_path},split=train")
    assert [one.category for one in named[0].annotations] == ["cat"]
    assert named.fingerprint == read_ovparts(str(tmp_path), "train").fingerprint


def test_mme_takes_several_tasks(tmp_path: Path) -> None:
    for task in ("count", "color", "scene"):
        (tmp_path / task).mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / task / "1.jpg")
        (tmp_path / task / "1.txt").write_text("Is it?\tYes\nIs it not?\tNo\n")
    named = open_data(f"mme:{tmp_path},tasks=count+color")
    assert [one.id for one in named] == ["count/1", "color/1"]
    assert named.fingerprint == read_mme(str(tmp_path), "count+color").fingerprint


def test_a_hub_folder_takes_its_columns(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, "PNG")
    pq.write_table(pa.Table.from_pylist([{"picture": stream.getvalue(), "text": "one"}]), tmp_path / "rows.parquet")
    cache = tmp_path / "cache"
    named = open_data(f"hub:{tmp_path / 'rows.parquet'},image=picture,caption=text,cache_dir={cache}")
    assert [one.captions for one in named] == [("one",)]
    given = read_hub(str(tmp_path / "rows.parquet"), image="picture", caption="text", cache_dir=str(cache))
    assert named.fingerprint == given.fingerprint
