"""The two-legged figures: a bird and a person."""

from vlm_lens.demo.scenes.canvas import Pen
from vlm_lens.demo.scenes.palette import BEAK, EYE, HAIR, SKIN, TROUSERS, jittered, scaled


def draw_bird(pen: Pen) -> None:
    """A bird in profile: round breast, pointed beak, folded or raised wing, fanned tail."""
    tones, random = pen.tones, pen.random
    for x, part in ((-0.03, f"{pen.far} leg"), (0.07, f"{pen.near} leg")):
        foot = x + random.uniform(-0.03, 0.03)
        pen.limb((x, -0.24), (foot, -0.02), 0.045, 0.04, BEAK, part)
        pen.limb((foot - 0.05, -0.018), (foot + 0.09, -0.018), 0.035, 0.035, BEAK, part)
    body = pen.turned(0.02, -0.42, random.uniform(-0.15, 0.15))
    tail = body.turned(-0.24, 0.03, random.uniform(-0.25, 0.25))
    tail.polygon([(0.08, -0.05), (-0.26, -0.10), (-0.29, 0.0), (-0.25, 0.09), (0.08, 0.07)],
                 tones.shade, "tail")  # fmt: skip
    is_flying = random.random() < 0.35
    if is_flying:
        far = body.turned(0.06, -0.08, random.uniform(-0.3, 0.3))
        far.smooth([(0.08, 0.05), (0.10, -0.24), (0.0, -0.40), (-0.12, -0.22), (-0.10, 0.02)],
                   scaled(tones.shade, 0.85), f"{pen.far} wing")  # fmt: skip
    breast = [(-0.30, 0.02), (-0.17, -0.15), (0.06, -0.21), (0.24, -0.12), (0.25, 0.07),
              (0.08, 0.20), (-0.14, 0.16)]  # fmt: skip
    body.smooth(breast, tones.base, "torso")
    body.ellipse(0.12, 0.09, 0.12, 0.085, tones.light, "torso", 0.3)
    body.limb((0.16, -0.10), (0.21, -0.20), 0.24, 0.22, tones.base, "neck")
    head = body.turned(0.24, -0.27, random.uniform(-0.25, 0.25))
    head.polygon([(0.10, -0.07), (0.32, 0.015), (0.10, 0.085)], BEAK, "beak")
    head.polygon([(0.10, 0.015), (0.31, 0.015), (0.10, 0.085)], scaled(BEAK, 0.84), "beak")
    head.ellipse(0, 0, 0.155, 0.15, tones.base, "head")
    head.ellipse(0.055, -0.035, 0.045, 0.047, (250, 248, 242), f"{pen.near} eye")
    head.ellipse(0.065, -0.035, 0.028, 0.031, EYE, f"{pen.near} eye")
    wing = body.turned(0.06, -0.06, random.uniform(-0.12, 0.12))
    if is_flying:
        shape = [(0.09, 0.06), (0.02, -0.24), (-0.14, -0.42), (-0.22, -0.20), (-0.12, 0.06)]
    else:
        shape = [(0.08, 0.0), (-0.04, -0.08), (-0.22, 0.0), (-0.36, 0.12), (-0.14, 0.13),
                 (0.03, 0.10)]  # fmt: skip
    wing.smooth(shape, scaled(tones.shade, 0.9), f"{pen.near} wing")


def draw_person(pen: Pen) -> None:
    """A standing person who faces us, arms in some pose; the clothes carry the colour."""
    tones, random = pen.tones, pen.random
    skin, hair = jittered(random.choice(SKIN), random, 6), random.choice(HAIR)
    trousers = jittered(random.choice(TROUSERS), random, 8)
    right, left = ("left", "right") if pen.is_flipped else ("right", "left")
    has_long_hair, is_waving = random.random() < 0.5, random.random() < 0.35
    if has_long_hair:
        pen.smooth([(-0.115, -0.90), (0, -1.0), (0.115, -0.90), (0.125, -0.72), (0, -0.68),
                    (-0.125, -0.72)], hair, "hair")  # fmt: skip
    stride = random.uniform(0.01, 0.06)
    for side, sign in ((right, -1), (left, 1)):
        foot = sign * (0.065 + stride)
        pen.limb((sign * 0.06, -0.40), (foot, -0.06), 0.125, 0.095, trousers, f"{side} leg")
        pen.ellipse(foot + sign * 0.02, -0.028, 0.065, 0.032, (60, 48, 46), f"{side} foot")
    for side, sign in ((right, -1), (left, 1)):
        shoulder = (sign * 0.125, -0.655)
        if is_waving and sign == 1:
            elbow, hand = (0.24, -0.68), (0.25 + random.uniform(0, 0.05), -0.84)
        else:
            spread = random.uniform(0.0, 0.12)
            elbow, hand = (sign * (0.17 + spread), -0.52), (sign * (0.18 + 1.2 * spread), -0.40)
        pen.limb(shoulder, elbow, 0.095, 0.085, tones.shade, f"{side} arm")
        pen.limb(elbow, hand, 0.085, 0.07, tones.shade, f"{side} arm")
        pen.ellipse(*hand, 0.045, 0.045, skin, f"{side} hand")
    pen.limb((0, -0.70), (0, -0.77), 0.085, 0.08, scaled(skin, 0.86), "neck")
    has_skirt = random.random() < 0.35
    hem = 0.20 if has_skirt else 0.125
    bottom = -0.27 if has_skirt else -0.37
    pen.smooth([(-0.14, -0.68), (0, -0.72), (0.14, -0.68), (0.125, -0.5), (hem, bottom),
                (0, bottom + 0.01), (-hem, bottom), (-0.125, -0.5)], tones.base, "torso")  # fmt: skip
    pen.limb((-0.115, -0.46), (0.115, -0.46), 0.03, 0.03, tones.shade, "torso")
    head = pen.turned(0, -0.85, random.uniform(-0.12, 0.12))
    head.ellipse(0, 0.0, 0.10, 0.115, skin, "head")
    head.smooth([(-0.11, 0.0), (-0.10, -0.11), (0, -0.15), (0.10, -0.11), (0.11, 0.0), (0.05, -0.06),
                 (-0.03, -0.07)], hair, "hair")  # fmt: skip
    head.ellipse(-0.038, 0.0, 0.016, 0.019, EYE, f"{right} eye")
    head.ellipse(0.038, 0.0, 0.016, 0.019, EYE, f"{left} eye")
    head.limb((-0.025, 0.06), (0.025, 0.06), 0.014, 0.014, (186, 88, 84), "head")
