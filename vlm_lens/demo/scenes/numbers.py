"""The numbers of categories and parts in the files that scenes are written to.

In COCO files the kinds are categories 1 to 14 and the surfaces 15 to 20. In Panoptic Parts files
the numbers are those of Pascal Panoptic Parts wherever it has the class: semantic ids 1 to 20 are
things, written with an instance id; the others are stuff, written without one; the seven animals
have its part ids. Two classes that it lacks have numbers that its evaluation ignores. FORMATS.md
beside this file shows the whole table.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vlm_lens.demo.scenes.vocabulary import KINDS, SURFACES

COCO_CATEGORIES: Mapping[str, int] = MappingProxyType(
    {name: number for number, name in enumerate((*KINDS, *SURFACES), start=1)}
)

SEMANTIC_IDS: Mapping[str, int] = MappingProxyType(
    {
        "bird": 3, "boat": 4, "car": 7, "cat": 8, "cow": 10, "table": 11, "dog": 12, "horse": 13,
        "person": 15, "sheep": 17, "sofa": 18, "ball": 22, "bed": 23, "bench": 25, "house": 34,
        "cup": 42, "flower": 49, "rug": 78, "shelf": 80, "tree": 93,
    }
)  # fmt: skip
"""Semantic ids (sid); "house" is the dataset's building, "shelf" its shelves."""

LAST_THING = 20
"""Semantic ids up to this one are things and have instances."""

PartIds = tuple[int, ...]

_PAWED = {
    "head": (1,), "left eye": (2,), "right eye": (3,), "left ear": (4,), "right ear": (5,),
    "torso": (7,), "neck": (8,), "left front leg": (9,), "right front leg": (11,),
    "left back leg": (13,), "right back leg": (15,), "tail": (17,),
}  # fmt: skip
_HORNED = {
    "head": (1,), "left eye": (2,), "right eye": (3,), "left ear": (4,), "right ear": (5,),
    "muzzle": (6,), "left horn": (7,), "right horn": (8,), "torso": (9,), "neck": (10,),
    "left front leg": (11, 12), "right front leg": (13, 14), "left back leg": (15, 16),
    "right back leg": (17, 18), "tail": (19,),
}  # fmt: skip

PART_IDS: Mapping[str, Mapping[str, PartIds]] = MappingProxyType(
    {
        "bird": {
            "head": (1,), "left eye": (2,), "right eye": (3,), "beak": (4,), "torso": (5,),
            "neck": (6,), "left wing": (7,), "right wing": (8,), "left leg": (9,),
            "right leg": (11,), "tail": (13,),
        },
        "cat": _PAWED | {"muzzle": (1,)},
        "dog": _PAWED | {"muzzle": (18,)},
        "cow": _HORNED,
        "sheep": {part: ids for part, ids in _HORNED.items() if "horn" not in part},
        "horse": {
            "head": (1,), "left eye": (2,), "right eye": (3,), "left ear": (4,),
            "right ear": (5,), "muzzle": (6,), "torso": (11,), "neck": (12,),
            "left front leg": (13, 14), "right front leg": (15, 16), "left back leg": (17, 18),
            "right back leg": (19, 20), "tail": (21,),
        },
        "person": {
            "head": (1,), "left eye": (2,), "right eye": (3,), "hair": (10,), "torso": (11,),
            "neck": (12,), "left arm": (14, 13), "left hand": (15,), "right arm": (17, 16),
            "right hand": (18,), "left leg": (20, 19), "left foot": (21,), "right leg": (23, 22),
            "right foot": (24,),
        },
    }
)  # fmt: skip
"""Part ids (pid) of the kinds whose parts are written.

Two ids are the upper and the lower half of a limb, which the dataset tells apart: (upper, lower).
The dataset has no muzzle for the cat, whose muzzle counts as head.
"""
