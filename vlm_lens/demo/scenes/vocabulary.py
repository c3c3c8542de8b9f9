"""The words of the bundled scenes: kinds, colours, places, surfaces, parts, companions."""

from collections.abc import Mapping
from types import MappingProxyType

COLORS: tuple[str, ...] = (
    "red", "yellow", "green", "blue", "purple", "brown", "black", "white", "gray",
)  # fmt: skip
PLACES: tuple[str, ...] = ("left", "middle", "right")
SIZES: tuple[str, ...] = ("small", "large")
SURFACES: tuple[str, ...] = ("bed", "table", "sofa", "bench", "rug", "shelf")
BACKGROUNDS: tuple[str, ...] = ("meadow", "beach", "street", "room", "garden")

_FUR = ("brown", "black", "white", "gray", "yellow")
_PAINT = ("red", "yellow", "green", "blue", "purple", "white")

COLORS_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bird": ("red", "yellow", "blue", "green", "gray", "black"),
        "cat": _FUR,
        "cow": _FUR,
        "dog": _FUR,
        "horse": _FUR,
        "person": ("red", "yellow", "green", "blue", "purple", "gray"),
        "sheep": _FUR,
        "car": (*_PAINT, "black"),
        "ball": _PAINT,
        "cup": (*_PAINT, "brown"),
        "tree": ("green", "yellow", "red", "brown"),
        "boat": (*_PAINT, "brown"),
        "flower": _PAINT,
        "house": (*_PAINT, "gray"),
    }
)
"""The colours that each kind is drawn in. A person's colour is that of the clothes."""

KINDS: tuple[str, ...] = tuple(COLORS_OF)

_LEGS = ("left front leg", "right front leg", "left back leg", "right back leg")
_EARS = ("left ear", "right ear")
_EYES = ("left eye", "right eye")
_QUADRUPED = ("head", *_EARS, *_EYES, "muzzle", "neck", "torso", *_LEGS, "tail")

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bird": (
            "head", *_EYES, "beak", "neck", "torso", "left wing", "right wing",
            "left leg", "right leg", "tail",
        ),
        "cat": _QUADRUPED,
        "cow": (*_QUADRUPED, "left horn", "right horn"),
        "dog": _QUADRUPED,
        "horse": _QUADRUPED,
        "person": (
            "head", "hair", *_EYES, "neck", "torso", "left arm", "right arm", "left hand",
            "right hand", "left leg", "right leg", "left foot", "right foot",
        ),
        "sheep": _QUADRUPED,
        "car": ("body", "front wheel", "back wheel", "window", "light"),
        "ball": ("stripe",),
        "cup": ("bowl", "handle"),
        "tree": ("crown", "trunk"),
        "boat": ("hull", "mast", "sail"),
        "flower": ("petals", "center", "stem", "leaf"),
        "house": ("wall", "roof", "door", "window", "chimney"),
    }
)  # fmt: skip
"""The parts of each kind, left and right apart, in the order of their numbers (1, 2, ...)."""

PAIRED: tuple[str, ...] = (
    "ear", "eye", "leg", "wing", "horn", "arm", "hand", "foot", "wheel",
)  # fmt: skip
"""Merged names of the parts that are told apart as left and right, or front and back."""

COMPANIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bird": ("cat", "tree", "flower", "boat"),
        "cat": ("dog", "bird", "ball", "cup", "person"),
        "cow": ("horse", "sheep", "tree", "house", "person"),
        "dog": ("cat", "person", "ball", "sheep"),
        "horse": ("cow", "person", "sheep", "house", "tree"),
        "person": ("dog", "horse", "car", "cup", "ball"),
        "sheep": ("cow", "dog", "horse", "tree"),
        "car": ("person", "house", "tree", "boat"),
        "ball": ("dog", "person", "cat", "cup"),
        "cup": ("flower", "person", "cat", "ball"),
        "tree": ("house", "bird", "car", "cow", "sheep"),
        "boat": ("person", "bird", "car", "ball"),
        "flower": ("cup", "bird", "house", "tree"),
        "house": ("tree", "car", "cow", "flower"),
    }
)
"""Kinds that often stand beside a kind: used to draw scenes and to choose likely absent kinds."""

BACKGROUNDS_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bird": ("meadow", "beach", "garden", "room"),
        "cat": ("room", "garden", "street"),
        "cow": ("meadow", "garden"),
        "dog": ("garden", "street", "room", "beach"),
        "horse": ("meadow", "beach"),
        "person": BACKGROUNDS,
        "sheep": ("meadow", "garden"),
        "car": ("street", "street", "beach", "room"),
        "ball": ("beach", "garden", "room", "room"),
        "cup": ("room", "room", "garden"),
        "tree": ("meadow", "garden", "street"),
        "boat": ("beach", "beach", "meadow", "room"),
        "flower": ("garden", "room", "meadow"),
        "house": ("street", "meadow", "garden"),
    }
)
"""Backgrounds where a kind is usual."""

SURFACES_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "meadow": ("bench", "table", "rug"),
        "beach": ("bench", "table", "rug", "sofa"),
        "street": ("bench", "table", "bed", "sofa"),
        "room": ("bed", "table", "sofa", "rug", "shelf"),
        "garden": ("bench", "table", "rug", "bed"),
    }
)
"""Surfaces that stand before each background."""


def merged_part(part: str) -> str:
    """The name of a part without its side: "left front leg" -> "leg"."""
    return part.rsplit(" ", 1)[-1]


def is_heldout(kind: str, color: str, place: str) -> bool:
    """Whether training never shows this combination (about one in ten; none hides a kind).

    A kind and a colour are held out at one place at most, and every kind has a combination that
    is held out.
    """
    number = KINDS.index(kind) + 2 * COLORS_OF[kind].index(color)
    return number % 9 == PLACES.index(place)
