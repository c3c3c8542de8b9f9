"""The lifeless kinds: car, ball, cup, tree, boat, flower, house."""

import math

from vlm_lens.demo.scenes.canvas import Pen
from vlm_lens.demo.scenes.palette import GLASS, TIRE, WOOD, jittered, mixed, scaled


def draw_car(pen: Pen) -> None:
    """A car seen from the side, with two windows, wheels and a lamp."""
    tones, random = pen.tones, pen.random
    roof = random.uniform(0.44, 0.50)
    pen.smooth([(-0.36, -0.25), (-0.25, -roof), (0.0, -roof - 0.02), (0.13, -roof + 0.02),
                (0.30, -0.26), (0.0, -0.2)], tones.base, "body")  # fmt: skip
    body = [(-0.49, -0.12), (-0.48, -0.27), (-0.3, -0.31), (0.2, -0.30), (0.43, -0.26),
            (0.50, -0.13), (0.3, -0.07), (-0.3, -0.07)]  # fmt: skip
    pen.smooth(body, tones.shade, "body")
    pen.smooth([(x, y - 0.025) for x, y in body], tones.base, "body")
    pen.polygon([(-0.29, -0.29), (-0.22, -roof + 0.05), (-0.05, -roof + 0.04), (-0.05, -0.29)],
                GLASS, "window")  # fmt: skip
    pen.polygon([(-0.01, -0.29), (-0.01, -roof + 0.04), (0.10, -roof + 0.06), (0.22, -0.29)],
                scaled(GLASS, 0.92), "window")  # fmt: skip
    pen.ellipse(0.45, -0.22, 0.04, 0.035, (250, 226, 140), "light")
    for x, part in ((-0.27, "back wheel"), (0.28, "front wheel")):
        pen.ellipse(x, -0.105, 0.112, 0.105, TIRE, part)
        pen.ellipse(x, -0.105, 0.055, 0.05, (190, 192, 196), part)


def draw_ball(pen: Pen) -> None:
    """A round ball with a pale stripe around it."""
    tones, random = pen.tones, pen.random
    pale = (250, 248, 240) if sum(tones.base) < 640 else (196, 84, 80)
    center = pen.turned(0, -0.5, random.uniform(0, 3.1))
    pen.ellipse(0, -0.5, 0.5, 0.5, tones.shade)
    pen.ellipse(-0.03, -0.53, 0.45, 0.45, tones.base)
    center.smooth([(-0.49, -0.06), (-0.25, -0.22), (0.0, -0.26), (0.25, -0.22), (0.49, -0.06),
                   (0.47, 0.10), (0.25, -0.02), (0.0, -0.07), (-0.25, -0.02), (-0.47, 0.10)],
                  pale, "stripe")  # fmt: skip
    pen.ellipse(-0.2, -0.74, 0.10, 0.065, mixed(tones.light, (255, 255, 255), 0.4), None, -0.5)


def draw_cup(pen: Pen) -> None:
    """A cup with one handle and a dark drink in it."""
    tones = pen.tones
    pen.ellipse(0.36, -0.45, 0.23, 0.25, tones.shade, "handle")
    hole = pen.turned(0.35, -0.45, 0.0)
    hole.ellipse(0, 0, 0.13, 0.15, scaled(tones.shade, 0.55), "handle")
    pen.smooth([(-0.42, -0.85), (0.0, -0.90), (0.42, -0.85), (0.38, -0.35), (0.25, -0.02),
                (0.0, 0.0), (-0.25, -0.02), (-0.38, -0.35)], tones.base, "bowl")  # fmt: skip
    pen.smooth([(0.20, -0.8), (0.40, -0.8), (0.36, -0.35), (0.22, -0.04), (0.05, -0.02),
                (0.2, -0.4)], tones.shade, "bowl")  # fmt: skip
    pen.ellipse(0, -0.84, 0.42, 0.12, tones.light, "bowl")
    pen.ellipse(0, -0.83, 0.35, 0.085, (92, 58, 44), "bowl")


def draw_tree(pen: Pen) -> None:
    """A round or a pointed tree on a brown trunk."""
    tones, random = pen.tones, pen.random
    trunk = jittered(WOOD, random, 8)
    pen.polygon([(-0.075, 0), (-0.05, -0.45), (0.05, -0.45), (0.085, 0)], trunk, "trunk")
    pen.polygon([(0.02, 0), (0.015, -0.45), (0.05, -0.45), (0.085, 0)], scaled(trunk, 0.8), "trunk")
    if random.random() < 0.3:
        for top, width, bottom in ((-0.58, 0.33, -0.25), (-0.78, 0.27, -0.45), (-1.0, 0.20, -0.66)):
            pen.polygon([(-width, bottom), (0, top), (width, bottom)], tones.base, "crown")
            pen.polygon([(width * 0.2, bottom), (0, top), (width, bottom)], tones.shade, "crown")
        return
    clumps = ((-0.2, -0.50), (0.2, -0.50), (-0.23, -0.68), (0.23, -0.68), (0.0, -0.80), (0, -0.55))
    for x, y in clumps:
        radius = random.uniform(0.17, 0.2)
        pen.ellipse(x, y, radius, radius, tones.shade, "crown")
    for x, y in clumps:
        pen.ellipse(x * 0.92 - 0.02, y - 0.03, 0.155, 0.145, tones.base, "crown")
    for _ in range(3):
        x, y = random.uniform(-0.22, 0.1), random.uniform(-0.85, -0.55)
        pen.ellipse(x, y, 0.05, 0.035, tones.light, "crown")


def draw_boat(pen: Pen) -> None:
    """A sailing boat: a coloured hull, a mast, and two sails in a paler tone."""
    tones, random = pen.tones, pen.random
    cloth = jittered((250, 244, 226), random, 4) if sum(tones.base) < 640 else (226, 116, 96)
    pen.limb((-0.02, -0.2), (-0.02, -0.98), 0.045, 0.035, scaled(WOOD, 0.7), "mast")
    bulge = random.uniform(0.0, 0.06)
    pen.smooth([(0.02, -0.95), (0.12 + bulge, -0.75), (0.32 + bulge, -0.45), (0.38, -0.31),
                (0.15, -0.29), (0.02, -0.30), (0.01, -0.6)], cloth, "sail")  # fmt: skip
    pen.polygon([(-0.06, -0.88), (-0.06, -0.31), (-0.34, -0.31)], scaled(cloth, 0.9), "sail")
    hull = [(-0.48, -0.25), (0.48, -0.25), (0.33, 0.0), (-0.33, 0.0)]
    pen.polygon(hull, tones.base, "hull")
    pen.polygon([(-0.42, -0.14), (0.42, -0.14), (0.33, 0.0), (-0.33, 0.0)], tones.shade, "hull")
    pen.limb((-0.45, -0.235), (0.45, -0.235), 0.03, 0.03, tones.light, "hull")


def draw_flower(pen: Pen) -> None:
    """A flower with round petals on a stem with two leaves."""
    tones, random = pen.tones, pen.random
    green = jittered((84, 150, 82), random, 8)
    lean = random.uniform(-0.07, 0.07)
    head = pen.turned(lean, -0.68, random.uniform(0, 1.2))
    pen.limb((0, -0.01), (lean, -0.6), 0.055, 0.045, green, "stem")
    for sign in (-1, 1):
        y = random.uniform(-0.22, -0.12)
        pen.ellipse(sign * 0.13, y, 0.145, 0.055, scaled(green, 0.9), "leaf", sign * -0.55)
    n_petals = random.choice((5, 6, 7))
    for petal in range(n_petals):
        angle = 2 * math.pi * petal / n_petals
        color = tones.base if petal % 2 else tones.shade
        x, y = 0.19 * math.cos(angle), 0.19 * math.sin(angle)
        head.ellipse(x, y, 0.15, 0.115, color, "petals", angle)
    heart = (246, 206, 84) if sum(tones.base) > 620 or tones.base[1] < 160 else (150, 84, 48)
    head.ellipse(0, 0, 0.10, 0.10, heart, "center")


def draw_house(pen: Pen) -> None:
    """A house with a pitched roof, a door, windows and a chimney."""
    tones, random = pen.tones, pen.random
    roof = jittered((156, 82, 66), random, 8) if tones.base[0] < 180 else (92, 84, 96)
    pen.polygon([(0.16, -0.66), (0.16, -0.95), (0.29, -0.95), (0.29, -0.6)], scaled(roof, 0.8),
                "chimney")  # fmt: skip
    pen.polygon([(-0.42, 0), (-0.42, -0.54), (0.42, -0.54), (0.42, 0)], tones.base, "wall")
    pen.polygon([(0.12, 0), (0.12, -0.54), (0.42, -0.54), (0.42, 0)], tones.shade, "wall")
    pen.polygon([(-0.5, -0.51), (0, -0.93), (0.5, -0.51)], roof, "roof")
    pen.polygon([(0.08, -0.51), (0, -0.93), (0.5, -0.51)], scaled(roof, 0.84), "roof")
    door = random.choice((-0.2, 0.0))
    pen.polygon([(door - 0.09, 0), (door - 0.09, -0.31), (door + 0.09, -0.31), (door + 0.09, 0)],
                WOOD, "door")  # fmt: skip
    for x in (0.25, -0.28 if door == 0.0 else 0.04):
        pen.polygon([(x - 0.085, -0.22), (x - 0.085, -0.4), (x + 0.085, -0.4), (x + 0.085, -0.22)],
                    (250, 250, 244), "window")  # fmt: skip
        pen.polygon([(x - 0.06, -0.24), (x - 0.06, -0.38), (x + 0.06, -0.38), (x + 0.06, -0.24)],
                    GLASS, "window")  # fmt: skip
