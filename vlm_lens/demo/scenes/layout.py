"""What a scene shows, and where: chosen before anything is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from vlm_lens.demo.scenes.canvas import SIZE
from vlm_lens.demo.scenes.figures import FIGURES
from vlm_lens.demo.scenes.surfaces import FORMS
from vlm_lens.demo.scenes.vocabulary import (
    BACKGROUNDS,
    BACKGROUNDS_OF,
    COLORS_OF,
    COMPANIONS,
    KINDS,
    PLACES,
    SURFACES_OF,
    is_heldout,
)

_CENTERS = {"left": 36.0, "middle": 96.0, "right": 156.0}
_LARGEST = {1: 150.0, 2: 98.0, 3: 80.0, 4: 72.0}
_WIDEST_BESIDE = 108.0
_LARGEST_ON_SURFACE = 86.0
_LARGE_SHARE = {1: 0.65, 2: 0.5, 3: 0.35, 4: 0.12}
_SURFACE_SHARE = {1: 0.5, 2: 0.45, 3: 0.35, 4: 0.2}
_SMALL = (42.0, 58.0)
_SMALLEST_LARGE = 68.0

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Subject:
    """One object of a scene, in words."""

    kind: str
    color: str
    size: str
    place: str
    surface: str | None


@dataclass(frozen=True)
class Placement:
    """Where a subject is drawn, in pixels of the scene.

    `x`, `feet` is the point where it stands, `scale` the pixels of one unit of its figure.
    """

    subject: Subject
    x: float
    feet: float
    scale: float
    box: Box
    surface: str | None
    surface_x: float
    surface_ground: float
    surface_width: float

    @property
    def depth(self) -> float:
        """Rows further down stand nearer and are drawn later."""
        return 0.0 if self.surface == "shelf" else max(self.surface_ground, self.feet)


def choose_subjects(random: Random, split: str, n_objects: int, require_surface: bool) -> tuple[str, list[Subject]]:
    """A background and the subjects before it; kinds differ, surfaces differ."""
    first = random.choice(KINDS)
    places = _choose_places(random, split, first, n_objects)
    kinds = [first]
    for place in places[1:]:
        kinds.append(_choose_companion(random, split, kinds, place))
    usual = random.random() < 0.6
    background = random.choice(BACKGROUNDS_OF[first] if usual else BACKGROUNDS)
    surfaces = list(SURFACES_OF[background])
    subjects: list[Subject] = []
    for number, (kind, place) in enumerate(zip(kinds, places, strict=True)):
        color = random.choice(_colors(kind, place, split))
        shares_place = places.count(place) > 1
        is_large = not shares_place and random.random() < _LARGE_SHARE[n_objects]
        is_on = random.random() < _SURFACE_SHARE[n_objects] or (require_surface and number == 0)
        surface = None
        if is_on and not shares_place:
            surface = _choose_surface(random, surfaces, is_large)
        subjects.append(Subject(kind, color, "large" if is_large else "small", place, surface))
    return background, subjects


def _choose_surface(random: Random, free: list[str], is_large: bool) -> str | None:
    """Takes a surface out of the free ones; a shelf carries small objects, often where it can."""
    possible = [surface for surface in free if not (is_large and surface == "shelf")]
    if not possible:
        return None
    if "shelf" in possible and random.random() < 0.5:
        surface = "shelf"
    else:
        surface = random.choice(possible)
    free.remove(surface)
    return surface


def _choose_places(random: Random, split: str, first: str, n_objects: int) -> list[str]:
    if split == "heldout":
        possible = [place for place in PLACES if _colors(first, place, split)]
    else:
        possible = list(PLACES)
    place = random.choice(possible)
    others = [other for other in PLACES if other != place]
    random.shuffle(others)
    return [place, *others, random.choice(others)][:n_objects]


def _colors(kind: str, place: str, split: str) -> list[str]:
    wanted = split == "heldout"
    return [color for color in COLORS_OF[kind] if is_heldout(kind, color, place) == wanted]


def _choose_companion(random: Random, split: str, present: Sequence[str], place: str) -> str:
    possible = [kind for kind in KINDS if kind not in present and _colors(kind, place, split)]
    likely = [kind for other in present for kind in COMPANIONS[other] if kind in possible]
    return random.choice(likely if likely and random.random() < 0.65 else possible)


def arrange(random: Random, subjects: Sequence[Subject], n_tries: int = 40) -> list[Placement]:
    """Places for all subjects whose boxes overlap little; the best of some tries."""
    best: list[Placement] = []
    least = float("inf")
    for _ in range(n_tries):
        placements = [_place(random, subject, subjects) for subject in subjects]
        overlap = max(
            (_overlap(first.box, second.box)
             for number, first in enumerate(placements) for second in placements[:number]),
            default=0.0,
        )  # fmt: skip
        if overlap < least:
            best, least = placements, overlap
        if overlap < 0.1:
            break
    return sorted(best, key=lambda placement: placement.depth)


def _overlap(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return width * height / min(areas)


def _inside(x: float, half_width: float) -> float:
    return min(max(x, half_width + 2), SIZE - half_width - 2)


def _place(random: Random, subject: Subject, subjects: Sequence[Subject]) -> Placement:
    figure = FIGURES[subject.kind]
    n_objects = len(subjects)
    largest = _LARGEST[n_objects]
    if subject.surface:
        largest = min(largest, _LARGEST_ON_SURFACE)
    elif subject.place != "middle":
        largest = min(largest, _WIDEST_BESIDE)
    extent = random.uniform(*(
        (_SMALLEST_LARGE, largest) if subject.size == "large" else _SMALL
    ))  # fmt: skip
    scale = figure.bulk * extent / max(figure.width, figure.height)
    width, height = figure.width * scale, figure.height * scale
    x = _CENTERS[subject.place] + random.uniform(-9, 9)
    if subject.surface:
        return _place_on_surface(random, subject, x, scale, width, height, n_objects)
    sharing = [other for other in subjects if other.place == subject.place]
    if len(sharing) > 1:
        low, high = (104, 114) if subject is sharing[0] else (170, 187)
    elif subject.size == "large":
        low, high = 138, 187
    else:
        low, high = 116, 186
    feet = max(random.uniform(low, high), height + 6)
    x = _inside(x, width / 2)
    box = (x - width / 2, feet - height, x + width / 2, feet)
    return Placement(subject, x, feet, scale, box, None, x, feet, 0.0)


def _place_on_surface(
    random: Random,
    subject: Subject,
    x: float,
    scale: float,
    width: float,
    height: float,
    n_objects: int,
) -> Placement:
    surface = subject.surface
    assert surface is not None
    form = FORMS[surface]
    widest = 112.0 if n_objects <= 2 else 84.0
    surface_width = min(max(width * random.uniform(1.2, 1.5), 60.0), widest)
    low, high = (82, 104) if surface == "shelf" else (140, 187)
    ground = max(random.uniform(low, high), height + form.stand * surface_width + 6)
    surface_x = _inside(x, max(surface_width, width) / 2)
    feet = ground - form.stand * surface_width
    x = surface_x + random.uniform(-3, 3)
    half = max(surface_width, width) / 2
    box = (surface_x - half, feet - height, surface_x + half, ground)
    return Placement(subject, x, feet, scale, box, surface, surface_x, ground, surface_width)
