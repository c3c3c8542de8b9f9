"""The surfaces that an object can be on: bed, table, sofa, bench, rug, shelf."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from vlm_lens.demo.scenes.canvas import Number, Pen
from vlm_lens.demo.scenes.palette import RGB, Tones, jittered, scaled, tones_from

_CLOTH: tuple[RGB, ...] = (
    (196, 132, 138), (126, 162, 176), (168, 176, 128), (186, 150, 186), (214, 172, 124),
)  # fmt: skip
_TIMBER: tuple[RGB, ...] = ((168, 120, 76), (134, 94, 62), (196, 156, 108))


@dataclass(frozen=True)
class SurfaceForm:
    """The outer measures of a surface, in units of its width (which is 1)."""

    height: float
    """From the ground to its upper edge."""
    stand: float
    """From the ground to where an object's feet stand."""
    drop: float = 0.0
    """How far something below the stand (a shelf's brackets) reaches."""


FORMS: Mapping[str, SurfaceForm] = {
    "bed": SurfaceForm(height=0.52, stand=0.29),
    "table": SurfaceForm(height=0.46, stand=0.43),
    "sofa": SurfaceForm(height=0.52, stand=0.25),
    "bench": SurfaceForm(height=0.54, stand=0.25),
    "rug": SurfaceForm(height=0.20, stand=0.09),
    "shelf": SurfaceForm(height=0.20, stand=0.185),
}


def surface_tones(kind: str, random: Random) -> Tones:
    """Cloth or timber tones for a surface."""
    choices = _TIMBER if kind in ("table", "bench", "shelf") else _CLOTH
    return tones_from(jittered(random.choice(choices), random, 8))


def _box(pen: Pen, left: Number, top: Number, right: Number, bottom: Number, color: RGB) -> None:
    pen.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], color)


def _bed(pen: Pen) -> None:
    timber = scaled(_TIMBER[1], 0.95)
    _box(pen, -0.5, -0.52, -0.44, 0, timber)
    _box(pen, 0.45, -0.32, 0.5, 0, timber)
    _box(pen, -0.46, -0.14, 0.47, -0.06, timber)
    _box(pen, -0.45, -0.27, 0.46, -0.12, (244, 240, 232))
    pen.ellipse(-0.34, -0.30, 0.11, 0.055, (252, 250, 246))
    pen.smooth([(-0.2, -0.30), (0.2, -0.315), (0.46, -0.29), (0.47, -0.1), (0.1, -0.08),
                (-0.2, -0.11)], pen.tones.base)  # fmt: skip
    pen.limb((-0.19, -0.285), (-0.19, -0.12), 0.05, 0.05, pen.tones.shade)


def _table(pen: Pen) -> None:
    for x in (-0.4, 0.36):
        _box(pen, x, -0.4, x + 0.05, 0, pen.tones.shade)
    _box(pen, -0.36, -0.37, 0.36, -0.31, pen.tones.shade)
    pen.smooth([(-0.5, -0.42), (-0.4, -0.46), (0.4, -0.46), (0.5, -0.42), (0.46, -0.37),
                (-0.46, -0.37)], pen.tones.base)  # fmt: skip


def _sofa(pen: Pen) -> None:
    tones = pen.tones
    pen.smooth([(-0.45, -0.46), (-0.2, -0.53), (0.2, -0.53), (0.45, -0.46), (0.45, -0.1),
                (-0.45, -0.1)], tones.shade)  # fmt: skip
    _box(pen, -0.42, -0.27, 0.42, -0.05, tones.base)
    pen.limb((-0.36, -0.245), (0.36, -0.245), 0.09, 0.09, tones.light)
    for x in (-0.43, 0.43):
        pen.limb((x, -0.3), (x, -0.1), 0.13, 0.13, tones.base)
        _box(pen, x - 0.03, -0.05, x + 0.03, 0, _TIMBER[1])


def _bench(pen: Pen) -> None:
    for x in (-0.4, 0.4):
        _box(pen, x - 0.025, -0.54, x + 0.025, -0.2, pen.tones.shade)
    for top in (-0.53, -0.43):
        _box(pen, -0.48, top, 0.48, top + 0.065, pen.tones.light)
    for x in (-0.38, 0.38):
        pen.limb((x, -0.22), (x * 1.06, -0.02), 0.055, 0.05, scaled(pen.tones.shade, 0.8))
    _box(pen, -0.5, -0.28, 0.5, -0.235, pen.tones.base)
    _box(pen, -0.5, -0.235, 0.5, -0.19, pen.tones.shade)


def _rug(pen: Pen) -> None:
    pen.ellipse(0, -0.1, 0.5, 0.10, pen.tones.shade)
    pen.ellipse(0, -0.105, 0.45, 0.082, pen.tones.light)
    pen.ellipse(0, -0.105, 0.40, 0.07, pen.tones.base)


def _shelf(pen: Pen) -> None:
    for x in (-0.32, 0.32):
        pen.polygon([(x - 0.025, -0.14), (x + 0.025, -0.14), (x + 0.025, 0.0)],
                    scaled(pen.tones.shade, 0.75))  # fmt: skip
    _box(pen, -0.5, -0.20, 0.5, -0.16, pen.tones.base)
    _box(pen, -0.5, -0.16, 0.5, -0.12, pen.tones.shade)


DRAW_SURFACE: Mapping[str, Callable[[Pen], None]] = {
    "bed": _bed,
    "table": _table,
    "sofa": _sofa,
    "bench": _bench,
    "rug": _rug,
    "shelf": _shelf,
}
