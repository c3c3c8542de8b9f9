"""Scenes written as Pascal Panoptic Parts ships its labels: one int32 TIFF a picture.

A pixel's uid holds, from the left, a semantic id (sid, up to 2 digits), an instance id (iid, 3)
and a part id (pid, 2): 93 is a tree, 7001 the first car, 1000106 the muzzle of the first cow. The
part id 0 is void: 1000100 is a pixel of the cow that belongs to no part. The uid 0 is unlabelled.

Source: Meletis et al. 2020, Cityscapes-Panoptic-Parts and PASCAL-Panoptic-Parts datasets for scene
understanding, arXiv 2004.07944.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32
from PIL import Image

from vlm_lens.demo.scenes.numbers import LAST_THING, PART_IDS, SEMANTIC_IDS, PartIds
from vlm_lens.demo.scenes.scene import Scene, SceneObject
from vlm_lens.demo.scenes.written import check_distinct, file_stem


def write_panoptic_parts(scenes: Sequence[Scene], folder: str | Path, split: str = "validation") -> None:
    """Write pictures to `images/{split}` and their labels to `labels/{split}`.

    Files are named by the scene's seed: `000000000007.png` and `000000000007.tif`.

    Raises:
        InputError: two scenes have one seed.
    """
    check_distinct(scenes)
    pictures, labels = Path(folder) / "images" / split, Path(folder) / "labels" / split
    pictures.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        Image.fromarray(scene.image).save(pictures / f"{file_stem(scene)}.png")
        uids = Image.fromarray(encode_uids(scene))
        uids.save(labels / f"{file_stem(scene)}.tif", compression="tiff_lzw")


def encode_uids(scene: Scene) -> Int32[np.ndarray, "height width"]:
    """The uid of every pixel of a scene; 0 for its background."""
    uids = np.zeros(scene.label_map.shape, np.int32)
    for found in (*scene.objects, *scene.surfaces):
        sid = SEMANTIC_IDS[found.kind]
        instance = 1  # a scene has one object of a kind at most
        if sid > LAST_THING:
            uids[found.mask] = sid
        elif found.kind not in PART_IDS:
            uids[found.mask] = sid * 1_000 + instance
        else:
            uids[found.mask] = sid * 100_000 + instance * 100
            for pid, mask in _numbered_parts(found):
                uids[mask] += pid
    return uids


def _numbered_parts(
    found: SceneObject,
) -> Iterable[tuple[int, Bool[np.ndarray, "height width"]]]:
    for part, mask in found.parts.items():
        ids: PartIds = PART_IDS[found.kind][part]
        if len(ids) == 1:
            yield ids[0], mask
            continue
        upper = _half_towards(mask, found.parts.get("torso", found.mask))
        yield ids[0], upper
        yield ids[1], mask & ~upper


def _half_towards(
    mask: Bool[np.ndarray, "height width"], body: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, "height width"]:
    """The pixels of a limb that lie nearer to the body's centre than the limb's middle does."""
    center = np.argwhere(body).mean(axis=0)
    positions = np.argwhere(mask)
    distance = np.linalg.norm(positions - center, axis=1)
    half = np.zeros_like(mask)
    half[tuple(positions[distance <= np.median(distance)].T)] = True
    return half
