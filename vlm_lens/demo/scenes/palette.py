"""The colours of the drawings: a named colour becomes a jittered tone with its shade and light."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

RGB = tuple[int, int, int]

_BASE: Mapping[str, RGB] = {
    "red": (206, 58, 52),
    "yellow": (238, 190, 66),
    "green": (70, 146, 74),
    "blue": (58, 112, 196),
    "purple": (142, 84, 176),
    "brown": (134, 84, 48),
    "black": (46, 46, 54),
    "white": (242, 240, 234),
    "gray": (142, 146, 152),
}

EYE: RGB = (32, 28, 32)
BEAK: RGB = (240, 148, 44)
MUZZLE: RGB = (232, 176, 164)
HORN: RGB = (226, 210, 176)
HOOF: RGB = (66, 54, 48)
WOOD: RGB = (150, 106, 66)
TIRE: RGB = (44, 44, 50)
GLASS: RGB = (186, 220, 236)
SKIN: tuple[RGB, ...] = ((246, 208, 176), (222, 170, 130), (164, 112, 78), (112, 74, 52))
HAIR: tuple[RGB, ...] = ((58, 40, 30), (30, 28, 32), (120, 72, 36), (216, 172, 92))
TROUSERS: tuple[RGB, ...] = ((62, 76, 110), (92, 84, 78), (54, 58, 66))


@dataclass(frozen=True)
class Tones:
    """The tones of one object: base, a darker shade, and a lighter one."""

    base: RGB
    shade: RGB
    light: RGB


def scaled(color: RGB, factor: int | float) -> RGB:
    """A colour made darker (factor < 1) or lighter (factor > 1), clipped to 0..255."""
    red, green, blue = color
    return (
        min(255, int(red * factor)),
        min(255, int(green * factor)),
        min(255, int(blue * factor)),
    )


def mixed(first: RGB, second: RGB, share: float) -> RGB:
    """The colour `share` of the way from first to second."""
    return (
        int(first[0] + share * (second[0] - first[0])),
        int(first[1] + share * (second[1] - first[1])),
        int(first[2] + share * (second[2] - first[2])),
    )


def jittered(color: RGB, random: Random, amount: int = 10) -> RGB:
    """A colour with each channel and the whole brightness moved a little at random."""
    whole = random.uniform(-amount, amount)
    red, green, blue = (
        max(0, min(255, int(channel + whole + random.uniform(-amount, amount) * 0.6))) for channel in color
    )
    return (red, green, blue)


def tones_from(color: RGB) -> Tones:
    """The tones around one colour."""
    dark = sum(color) < 200
    return Tones(
        base=color,
        shade=scaled(color, 0.70 if dark else 0.82),
        light=mixed(color, (255, 255, 255), 0.16 if dark else 0.28),
    )


def tones_of(name: str, random: Random) -> Tones:
    """The tones of a named colour, jittered."""
    return tones_from(jittered(_BASE[name], random))
