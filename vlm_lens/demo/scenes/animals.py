"""The four-legged animals: one build, told apart by head, wool, mane, horns and tail."""

from collections.abc import Mapping
from dataclasses import dataclass

from vlm_lens.demo.scenes.canvas import Pen, Point
from vlm_lens.demo.scenes.palette import EYE, HOOF, HORN, MUZZLE, RGB, mixed, scaled


@dataclass(frozen=True)
class Build:
    """Proportions of a four-legged body, in units of its height or length."""

    back: float
    """Height of the legs' upper end above the ground."""
    reach: float
    """Half the distance between front and back legs."""
    thickness: float
    """Half the height of the torso."""
    leg_width: float
    swing: float
    """How far a foot may stand before or behind its hip."""


BUILDS: Mapping[str, Build] = {
    "cat": Build(back=0.30, reach=0.25, thickness=0.14, leg_width=0.095, swing=0.07),
    "dog": Build(back=0.36, reach=0.25, thickness=0.14, leg_width=0.10, swing=0.08),
    "cow": Build(back=0.30, reach=0.30, thickness=0.20, leg_width=0.105, swing=0.05),
    "horse": Build(back=0.42, reach=0.27, thickness=0.145, leg_width=0.08, swing=0.10),
    "sheep": Build(back=0.26, reach=0.22, thickness=0.21, leg_width=0.085, swing=0.04),
}


def _leg(pen: Pen, build: Build, x: float, color: RGB, foot: RGB, part: str) -> None:
    swing = pen.random.uniform(-build.swing, build.swing)
    hip, knee, ground = (x, -build.back - 0.02), (x + 0.6 * swing, -build.back / 2), (x + swing, 0)
    width = build.leg_width
    pen.limb(hip, knee, width * 1.35, width, color, part)
    pen.limb(knee, (ground[0], -width * 0.35), width, width * 0.85, color, part)
    pen.ellipse(ground[0] + 0.012, -width * 0.32, width * 0.55, width * 0.34, foot, part)


def _far_legs(pen: Pen, build: Build, color: RGB, foot: RGB) -> None:
    dark = scaled(color, 0.86)
    _leg(pen, build, -build.reach + 0.09, dark, foot, f"{pen.far} back leg")
    _leg(pen, build, build.reach - 0.09, dark, foot, f"{pen.far} front leg")


def _near_legs(pen: Pen, build: Build, color: RGB, foot: RGB) -> None:
    _leg(pen, build, -build.reach, color, foot, f"{pen.near} back leg")
    _leg(pen, build, build.reach, color, foot, f"{pen.near} front leg")


def _torso(pen: Pen, build: Build) -> None:
    middle, long, high = -build.back - build.thickness * 0.75, build.reach + 0.09, build.thickness
    outline: list[Point] = [
        (-long, middle - 0.02), (-long * 0.8, middle - high * 0.95), (0.0, middle - high * 0.85),
        (long * 0.8, middle - high), (long * 1.02, middle - 0.02), (long * 0.8, middle + high * 0.9),
        (0.0, middle + high * 0.78), (-long * 0.8, middle + high * 0.85),
    ]  # fmt: skip
    pen.smooth(outline, pen.tones.shade, "torso")
    pen.smooth([(x * 0.98, y - 0.035) for x, y in outline], pen.tones.base, "torso")


def _front_eyes(pen: Pen, spread: float, y: float, radius: float, white: bool = False) -> None:
    """Two eyes of a face that looks at us: its left eye is on our right."""
    right, left = ("left eye", "right eye") if pen.is_flipped else ("right eye", "left eye")
    for x, part in ((-spread, right), (spread, left)):
        if white:
            pen.ellipse(x, y, radius * 1.25, radius * 1.3, (250, 250, 245), part)
        pen.ellipse(x, y, radius, radius * 1.15, EYE, part)
        pen.ellipse(x + radius * 0.3, y - radius * 0.4, radius * 0.3, radius * 0.3,
                    (255, 255, 255), part)  # fmt: skip


def _front_sides(pen: Pen) -> tuple[str, str]:
    """Names of a facing head's sides: at negative x, at positive x."""
    return ("left", "right") if pen.is_flipped else ("right", "left")


def _profile_eye(pen: Pen, x: float, y: float, radius: float) -> None:
    part = f"{pen.near} eye"
    pen.ellipse(x, y, radius * 1.35, radius * 1.35, (246, 244, 238), part)
    pen.ellipse(x + radius * 0.2, y, radius, radius * 1.1, EYE, part)


def draw_cat(pen: Pen) -> None:
    """A slender cat with pointed ears, a round face and a tail held high."""
    build, tones, random = BUILDS["cat"], pen.tones, pen.random
    paw = mixed(tones.base, (255, 255, 255), 0.45)
    _far_legs(pen, build, tones.shade, paw)
    tail = pen.turned(-build.reach - 0.05, -0.44, random.uniform(-0.25, 0.2))
    if random.random() < 0.85:
        curve = ((0.0, 0.0), (-0.11, -0.05), (-0.15, -0.18), (-0.11, -0.31), (-0.16, -0.41))
        for start, end in zip(curve, curve[1:], strict=False):
            tail.limb(start, end, 0.075, 0.07, tones.shade, "tail")
    _torso(pen, build)
    if random.random() < 0.5:
        for x in (-0.18, -0.07, 0.04):
            pen.limb((x, -0.52), (x + 0.02, -0.42), 0.03, 0.015, tones.shade, "torso")
    _near_legs(pen, build, tones.base, paw)
    pen.limb((0.24, -0.45), (0.31, -0.58), 0.17, 0.15, tones.shade, "neck")
    head = pen.turned(0.32, -0.66, random.uniform(-0.22, 0.22))
    for side, sign in zip(_front_sides(pen), (-1, 1), strict=True):
        ear = [(sign * 0.165, -0.02), (sign * 0.165, -0.27), (sign * 0.02, -0.13)]
        head.polygon(ear, tones.shade, f"{side} ear")
        inner = [(sign * 0.14, -0.08), (sign * 0.145, -0.20), (sign * 0.07, -0.13)]
        head.polygon(inner, MUZZLE, f"{side} ear")
    head.ellipse(0, 0, 0.185, 0.16, tones.base, "head")
    head.ellipse(0, 0.075, 0.10, 0.065, mixed(tones.base, (255, 255, 255), 0.55), "muzzle")
    head.polygon([(-0.03, 0.035), (0.03, 0.035), (0, 0.07)], (214, 110, 110), "muzzle")
    _front_eyes(head, 0.082, -0.02, 0.032, white=sum(tones.base) < 260)


def draw_dog(pen: Pen) -> None:
    """A dog in profile: hanging ear, long muzzle with a dark nose, raised tail, a red collar."""
    build, tones, random = BUILDS["dog"], pen.tones, pen.random
    paw = tones.light
    _far_legs(pen, build, tones.shade, paw)
    if random.random() < 0.85:
        tail = pen.turned(-build.reach - 0.05, -0.52, random.uniform(-0.3, 0.5))
        tail.limb((0.02, 0.02), (-0.17, -0.15), 0.08, 0.035, tones.shade, "tail")
    _torso(pen, build)
    _near_legs(pen, build, tones.base, paw)
    pen.limb((0.24, -0.50), (0.31, -0.66), 0.20, 0.15, tones.base, "neck")
    head = pen.turned(0.32, -0.74, random.uniform(-0.3, 0.25))
    head.limb((-0.08, 0.115), (0.07, 0.13), 0.045, 0.045, (198, 60, 60), "neck")
    head.ellipse(0.0, 0, 0.15, 0.125, tones.base, "head")
    head.limb((0.09, 0.03), (0.235, 0.045), 0.145, 0.10, tones.light, "muzzle")
    head.ellipse(0.265, 0.015, 0.036, 0.032, EYE, "muzzle")
    ear = [(-0.10, -0.11), (0.0, -0.10), (0.01, 0.04), (-0.05, 0.16), (-0.13, 0.10)]
    head.smooth(ear, scaled(tones.shade, 0.78), f"{pen.near} ear")
    _profile_eye(head, 0.065, -0.035, 0.024)


def draw_cow(pen: Pen) -> None:
    """A broad cow that turns its face to us: horns, a wide pink muzzle, patches on the coat."""
    build, tones, random = BUILDS["cow"], pen.tones, pen.random
    pale = (248, 244, 236) if sum(tones.base) < 600 else (96, 82, 76)
    _far_legs(pen, build, tones.shade, HOOF)
    if random.random() < 0.85:
        tail = pen.turned(-build.reach - 0.07, -0.58, random.uniform(-0.05, 0.35))
        tail.limb((0, 0), (-0.04, 0.30), 0.04, 0.03, tones.shade, "tail")
        tail.ellipse(-0.045, 0.33, 0.035, 0.06, scaled(tones.shade, 0.7), "tail")
    pen.ellipse(-0.14, -0.26, 0.085, 0.06, MUZZLE, "torso")
    _torso(pen, build)
    for _ in range(random.randint(2, 3)):
        x, y = random.uniform(-0.28, 0.1), random.uniform(-0.53, -0.38)
        radius_x, radius_y = random.uniform(0.05, 0.11), random.uniform(0.045, 0.08)
        pen.ellipse(x, y, radius_x, radius_y, pale, "torso", random.uniform(0, 3))
    _near_legs(pen, build, tones.base, HOOF)
    pen.limb((0.26, -0.48), (0.37, -0.58), 0.26, 0.20, tones.shade, "neck")
    head = pen.turned(0.38, -0.62, random.uniform(-0.2, 0.2))
    for side, sign in zip(_front_sides(pen), (-1, 1), strict=True):
        horn = [(sign * 0.05, -0.13), (sign * 0.17, -0.17), (sign * 0.175, -0.32),
                (sign * 0.115, -0.22)]  # fmt: skip
        head.smooth(horn, HORN, f"{side} horn")
        head.ellipse(sign * 0.185, -0.06, 0.085, 0.042, tones.shade, f"{side} ear", sign * 0.35)
    head.smooth(
        [(-0.125, -0.14), (0, -0.17), (0.125, -0.14), (0.12, 0.06), (0, 0.13), (-0.12, 0.06)],
        tones.base, "head",
    )  # fmt: skip
    head.smooth([(-0.03, -0.16), (0.03, -0.16), (0.04, 0.04), (-0.04, 0.04)], pale, "head")
    head.ellipse(0, 0.115, 0.135, 0.085, MUZZLE, "muzzle")
    for sign in (-1, 1):
        head.ellipse(sign * 0.05, 0.105, 0.02, 0.027, (150, 92, 88), "muzzle")
    _front_eyes(head, 0.075, -0.045, 0.026, white=sum(tones.base) < 260)


def draw_horse(pen: Pen) -> None:
    """A tall horse in profile: long arched neck with a mane, a long face, a full tail."""
    build, tones, random = BUILDS["horse"], pen.tones, pen.random
    hair = scaled(tones.base, 0.5) if sum(tones.base) > 200 else (106, 84, 66)
    _far_legs(pen, build, tones.shade, HOOF)
    tail = pen.turned(-build.reach - 0.06, -0.60, random.uniform(-0.1, 0.35))
    if random.random() < 0.9:
        tail.smooth([(0.05, -0.03), (-0.05, 0.0), (-0.11, 0.20), (-0.07, 0.38), (0.0, 0.22)],
                    hair, "tail")  # fmt: skip
    _torso(pen, build)
    _near_legs(pen, build, tones.base, HOOF)
    neck = pen.turned(0.25, -0.56, random.uniform(-0.16, 0.26))
    mane = [(-0.10, 0.02), (-0.06, -0.16), (0.01, -0.34), (0.08, -0.37), (0.06, -0.2), (0.0, 0.0)]
    neck.smooth(mane, hair, "neck")
    neck.smooth(
        [(-0.05, 0.10), (-0.03, -0.10), (0.05, -0.33), (0.17, -0.30), (0.13, -0.12), (0.12, 0.06)],
        tones.base, "neck",
    )  # fmt: skip
    head = neck.turned(0.11, -0.31, random.uniform(0.0, 0.3))
    head.polygon([(-0.075, -0.02), (-0.05, -0.16), (0.0, -0.05)], tones.shade, f"{pen.far} ear")
    head.smooth(
        [(-0.09, -0.02), (-0.01, -0.085), (0.10, -0.05), (0.22, 0.05), (0.22, 0.13), (0.08, 0.11),
         (-0.05, 0.10)],
        tones.base, "head",
    )  # fmt: skip
    head.ellipse(0.205, 0.085, 0.058, 0.058, tones.shade, "muzzle")
    head.ellipse(0.225, 0.07, 0.012, 0.016, EYE, "muzzle")
    head.polygon([(-0.05, -0.04), (-0.015, -0.18), (0.03, -0.06)], tones.base, f"{pen.near} ear")
    head.smooth([(-0.06, -0.07), (0.03, -0.08), (0.05, -0.01), (-0.01, -0.02)], hair, "head")
    _profile_eye(head, 0.055, -0.005, 0.021)


def draw_sheep(pen: Pen) -> None:
    """A sheep: a cloud of wool on short legs, a bare face with hanging ears, a woolly cap."""
    build, tones, random = BUILDS["sheep"], pen.tones, pen.random
    dark_wool = sum(tones.base) < 260
    face: RGB = (222, 196, 172) if dark_wool else (72, 62, 60)
    _far_legs(pen, build, face, HOOF)
    _near_legs(pen, build, face, HOOF)
    if random.random() < 0.7:
        pen.ellipse(-0.40, -0.46, 0.07, 0.09, tones.shade, "tail")
    wool = ((-0.27, -0.47), (-0.17, -0.61), (0.0, -0.65), (0.17, -0.60), (0.27, -0.46),
            (0.20, -0.31), (0.04, -0.28), (-0.13, -0.28), (-0.26, -0.34))  # fmt: skip
    for x, y in wool:
        radius = random.uniform(0.115, 0.135)
        pen.ellipse(x, y, radius, radius, tones.shade, "torso")
    pen.ellipse(0, -0.47, 0.27, 0.19, tones.base, "torso")
    for x, y in wool:
        pen.ellipse(x * 0.93, y - 0.025, 0.105, 0.10, tones.base, "torso")
    for x, y in ((-0.12, -0.50), (0.04, -0.42), (-0.05, -0.58)):
        pen.ellipse(x, y, 0.05, 0.035, tones.light, "torso")
    pen.limb((0.25, -0.48), (0.33, -0.55), 0.18, 0.16, tones.shade, "neck")
    head = pen.turned(0.36, -0.58, random.uniform(-0.2, 0.25))
    for side, sign in zip(_front_sides(pen), (-1, 1), strict=True):
        head.ellipse(sign * 0.145, -0.01, 0.085, 0.04, scaled(face, 0.85), f"{side} ear", sign * 0.5)
    head.smooth([(-0.1, -0.08), (0, -0.13), (0.1, -0.08), (0.075, 0.10), (0, 0.15), (-0.075, 0.10)],
                face, "head")  # fmt: skip
    head.ellipse(0, 0.105, 0.06, 0.045, mixed(face, (255, 220, 210), 0.35), "muzzle")
    for x, y in ((-0.07, -0.11), (0.07, -0.11), (0.0, -0.15)):
        head.ellipse(x, y, 0.07, 0.06, tones.base, "head")
    _front_eyes(head, 0.047, -0.015, 0.022, white=not dark_wool)
