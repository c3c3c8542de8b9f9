"""Scenes drawn by code: a picture, its objects, and the pixels of each object and part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Int16, UInt8

from vlm_lens.demo.scenes.backgrounds import choose_background
from vlm_lens.demo.scenes.canvas import PARTS_PER_OBJECT, Canvas, Pen
from vlm_lens.demo.scenes.figures import FIGURES
from vlm_lens.demo.scenes.layout import Placement, Subject, arrange, choose_subjects
from vlm_lens.demo.scenes.palette import tones_of
from vlm_lens.demo.scenes.surfaces import DRAW_SURFACE, surface_tones
from vlm_lens.demo.scenes.vocabulary import PARTS
from vlm_lens.errors import InputError

SPLITS: tuple[str, ...] = ("train", "heldout")

_SHARE_OF_N_OBJECTS = (0.30, 0.34, 0.26, 0.10)
_LEAST_VISIBLE_SHARE = 0.62
_N_TRIES = 40


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One object, or one surface, of a scene.

    `number` is its number on the scene's label map, whose values are `16 * number + part`.
    A surface has itself no surface, its colour is "" and its size "large".
    """

    kind: str
    color: str
    size: str
    place: str
    surface: str | None
    number: int
    label_map: Int16[np.ndarray, "height width"] = field(repr=False)

    @cached_property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        """The object's visible pixels."""
        return self.label_map // PARTS_PER_OBJECT == self.number

    @cached_property
    def parts(self) -> Mapping[str, Bool[np.ndarray, "height width"]]:
        """The visible pixels of each part that shows at least one."""
        masks = {}
        for part_number, part in enumerate(PARTS.get(self.kind, ()), start=1):
            mask = self.label_map == self.number * PARTS_PER_OBJECT + part_number
            if mask.any():
                masks[part] = mask
        return MappingProxyType(masks)


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn picture with everything there is to know about it.

    `label_map` holds 0 for the background and `16 * number + part` elsewhere: `number` counts the
    objects and then the surfaces from 1, `part` is 1 + its place in `PARTS[kind]` (0: no part).
    """

    seed: int
    split: str
    background: str
    image: UInt8[np.ndarray, "height width channel"] = field(repr=False)
    objects: tuple[SceneObject, ...]
    surfaces: tuple[SceneObject, ...]
    label_map: Int16[np.ndarray, "height width"] = field(repr=False)


def draw_scene(
    seed: int, split: str = "train", n_objects: int | None = None, *, require_surface: bool = False
) -> Scene:
    """Draw the scene of a seed: 192 x 192 pixels, 1 to 4 objects of different kinds.

    Args:
        seed: together with the other arguments it determines every pixel.
        split: "train" never shows a combination of kind, colour and place that is held out,
            "heldout" shows nothing else.
        n_objects: 1 to 4; drawn at random where None.
        require_surface: whether at least one object must stand on a surface.

    Raises:
        InputError: the split is unknown or the number of objects is not 1 to 4.
    """
    if split not in SPLITS:
        raise InputError("Scene split", f"one of {SPLITS}", repr(split))
    if n_objects is not None and not 1 <= n_objects <= 4:
        raise InputError("Number of objects in a scene", "1 to 4", n_objects)
    random = Random(f"{split} {seed} {n_objects} {require_surface}")
    if n_objects is None:
        n_objects = random.choices((1, 2, 3, 4), _SHARE_OF_N_OBJECTS)[0]
    background, subjects = choose_subjects(random, split, n_objects, require_surface)
    for _ in range(_N_TRIES):
        canvas = Canvas(choose_background(background, split, random))
        placements = arrange(random, subjects)
        if _paint(canvas, placements, subjects, random) >= _LEAST_VISIBLE_SHARE:
            break
    label_map = canvas.label_map()
    objects = tuple(
        SceneObject(s.kind, s.color, s.size, s.place, s.surface, number, label_map)
        for number, s in enumerate(subjects, start=1)
    )
    standing = [s for s in subjects if s.surface]
    surfaces = tuple(
        SceneObject(s.surface or "", "", "large", s.place, None, number, label_map)
        for number, s in enumerate(standing, start=len(subjects) + 1)
    )
    return Scene(seed, split, background, canvas.image(), objects, surfaces, label_map)


def _paint(canvas: Canvas, placements: list[Placement], subjects: list[Subject], random: Random) -> float:
    """Paint everything from back to front; the smallest visible share of an object."""
    standing = [subject for subject in subjects if subject.surface]
    n_painted: dict[int, int] = {}
    for placement in placements:
        subject = placement.subject
        number = subjects.index(subject) + 1
        if placement.surface:
            _paint_surface(canvas, placement, len(subjects) + 1 + standing.index(subject), random)
        else:
            canvas.shadow(placement.x, placement.feet, 0.5 * (placement.box[2] - placement.box[0]))
        pen = Pen(
            canvas, number, subject.kind, (placement.x, placement.feet), placement.scale,
            tones_of(subject.color, random), random,
            is_flipped=random.random() < 0.5, angle=random.uniform(-0.05, 0.05),
        )  # fmt: skip
        FIGURES[subject.kind].draw(pen)
        n_painted[number] = canvas.n_pixels(number)
    return min(canvas.n_pixels(number) / n for number, n in n_painted.items())


def _paint_surface(canvas: Canvas, placement: Placement, number: int, random: Random) -> None:
    surface = placement.surface
    assert surface is not None
    origin = (placement.surface_x, placement.surface_ground)
    if surface not in ("shelf", "rug"):
        canvas.shadow(*origin, 0.5 * placement.surface_width)
    pen = Pen(canvas, number, surface, origin, placement.surface_width,
              surface_tones(surface, random), random)  # fmt: skip
    DRAW_SURFACE[surface](pen)
