"""The backgrounds: soft pictures of a meadow, a beach, a street, a room, a garden.

A background is painted once and kept: each name has a bank of variants, training and held-out
scenes have their own. It is twice as fine as a scene, as the canvas is.
"""

from collections.abc import Callable, Mapping
from functools import cache
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vlm_lens.demo.scenes.palette import RGB, jittered, mixed, scaled

_SIDE = 384
_N_VARIANTS: Mapping[str, int] = {"train": 24, "heldout": 12}


def choose_background(name: str, split: str, random: Random) -> Image.Image:
    """A fresh copy of one of the variants of a background, mirrored or not."""
    picture = _variant(name, split, random.randrange(_N_VARIANTS[split]), random.random() < 0.5)
    return picture.copy()


@cache
def _variant(name: str, split: str, number: int, is_mirrored: bool) -> Image.Image:
    if is_mirrored:
        return _variant(name, split, number, False).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    random = Random(f"background {name} {split} {number}")
    picture = _PAINT[name](random)
    grain = np.random.default_rng(random.getrandbits(32)).normal(0, 1.6, (_SIDE, _SIDE, 1))
    noisy = np.asarray(picture).astype(np.float32) + grain
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _gradient(top: RGB, bottom: RGB, height: int) -> Image.Image:
    rows = np.linspace(0, 1, height)[:, None, None]
    colors = np.array(top) * (1 - rows) + np.array(bottom) * rows
    return Image.fromarray(np.broadcast_to(colors, (height, _SIDE, 3)).astype(np.uint8))


def _outdoors(random: Random, sky: tuple[RGB, RGB], ground: tuple[RGB, RGB], horizon: int) -> Image.Image:
    picture = Image.new("RGB", (_SIDE, _SIDE))
    upper, lower = (jittered(color, random, 8) for color in sky)
    picture.paste(_gradient(upper, lower, horizon), (0, 0))
    upper, lower = (jittered(color, random, 8) for color in ground)
    picture.paste(_gradient(upper, lower, _SIDE - horizon), (0, horizon))
    return picture


def _clouds(picture: Image.Image, random: Random, horizon: int) -> Image.Image:
    cover = Image.new("L", picture.size, 0)
    draw = ImageDraw.Draw(cover)
    for _ in range(random.randint(1, 3)):
        x, y = random.uniform(0, _SIDE), random.uniform(20, horizon * 0.6)
        for _ in range(5):
            center, radius = x + random.uniform(-45, 45), random.uniform(10, 22)
            draw.ellipse((center - radius * 1.5, y - radius, center + radius * 1.5, y + radius * 0.6),
                         fill=150)  # fmt: skip
    cover = cover.filter(ImageFilter.GaussianBlur(3))
    return Image.composite(Image.new("RGB", picture.size, (252, 252, 252)), picture, cover)


def _hills(draw: ImageDraw.ImageDraw, random: Random, horizon: int, color: RGB) -> None:
    for depth in range(2):
        phases = [(random.uniform(40, 110), random.uniform(0, 6.3)) for _ in range(2)]
        xs = np.arange(0, _SIDE + 12, 12)
        waves = [9 * np.sin(xs / wave + phase) for wave, phase in phases]
        height = 22 - 10 * depth + (waves[0] + waves[1])
        ridge = [(float(x), float(horizon - h)) for x, h in zip(xs, height, strict=True)]
        draw.polygon([*ridge, (_SIDE, horizon + 2), (0, horizon + 2)],
                     fill=mixed(color, (214, 228, 236), 0.45 - 0.25 * depth))  # fmt: skip


def _tufts(draw: ImageDraw.ImageDraw, random: Random, horizon: int, color: RGB, n: int) -> None:
    for _ in range(n):
        x, y = random.uniform(0, _SIDE), random.uniform(horizon + 12, _SIDE)
        reach = 3 + 7 * (y - horizon) / _SIDE
        for lean in (-0.6, 0.0, 0.6):
            draw.line((x, y, x + lean * reach, y - reach), fill=color, width=2)


def _meadow(random: Random) -> Image.Image:
    horizon = random.randint(150, 180)
    ground: tuple[RGB, RGB] = ((176, 206, 134), (138, 180, 104))
    picture = _outdoors(random, ((150, 198, 232), (222, 238, 244)), ground, horizon)
    picture = _clouds(picture, random, horizon)
    draw = ImageDraw.Draw(picture)
    _hills(draw, random, horizon, (132, 176, 120))
    _tufts(draw, random, horizon, (122, 164, 92), 40)
    return picture


def _beach(random: Random) -> Image.Image:
    horizon = random.randint(130, 160)
    sand: tuple[RGB, RGB] = ((238, 220, 176), (226, 200, 150))
    picture = _outdoors(random, ((162, 210, 238), (236, 240, 236)), sand, horizon + 44)
    picture = _clouds(picture, random, horizon)
    sea = jittered((110, 178, 200), random, 8)
    picture.paste(_gradient(scaled(sea, 0.9), mixed(sea, (255, 255, 255), 0.3), 44), (0, horizon))
    draw = ImageDraw.Draw(picture)
    phase = random.uniform(0, 6)
    xs = np.arange(0, _SIDE + 8, 8)
    edge = horizon + 44 + 5 * np.sin(xs / 38 + phase)
    line = [(float(x), float(y)) for x, y in zip(xs, edge, strict=True)]
    draw.line(line, fill=(250, 250, 246), width=6)
    for _ in range(6):
        x, y = random.uniform(0, _SIDE), random.uniform(horizon + 8, horizon + 34)
        draw.line((x, y, x + random.uniform(15, 40), y), fill=(214, 236, 240), width=2)
    for _ in range(60):
        x, y = random.uniform(0, _SIDE), random.uniform(horizon + 60, _SIDE)
        draw.ellipse((x, y, x + 3, y + 2), fill=(206, 178, 130))
    return picture


def _street(random: Random) -> Image.Image:
    horizon = random.randint(160, 185)
    ground: tuple[RGB, RGB] = ((196, 192, 188), (172, 168, 168))
    picture = _outdoors(random, ((178, 206, 228), (228, 234, 238)), ground, horizon)
    draw = ImageDraw.Draw(picture)
    x = -random.randint(0, 40)
    while x < _SIDE:
        width, height = random.randint(55, 95), random.randint(70, 135)
        facade = random.choice(((204, 182, 164), (190, 196, 202), (214, 200, 174), (196, 178, 180)))
        wall = jittered(facade, random, 8)
        draw.rectangle((x, horizon - height, x + width, horizon), fill=wall)
        for window_y in range(horizon - height + 12, horizon - 20, 27):
            for window_x in range(x + 10, x + width - 15, 22):
                draw.rectangle((window_x, window_y, window_x + 11, window_y + 15),
                               fill=mixed(wall, (160, 186, 204), 0.6))  # fmt: skip
        x += width
    draw.rectangle((0, horizon, _SIDE, horizon + 26), fill=(212, 206, 198))
    draw.line((0, horizon + 27, _SIDE, horizon + 27), fill=(160, 156, 154), width=4)
    lane = horizon + random.randint(95, 130)
    for x in range(random.randint(-50, 0), _SIDE, 84):
        draw.polygon([(x, lane), (x + 44, lane), (x + 40, lane + 7), (x - 5, lane + 7)],
                     fill=(232, 230, 222))  # fmt: skip
    return picture


def _room(random: Random) -> Image.Image:
    horizon = random.randint(165, 195)
    walls: tuple[RGB, ...] = (
        (206, 218, 216), (226, 210, 194), (208, 212, 228), (220, 222, 196), (228, 206, 206),
    )  # fmt: skip
    wall = random.choice(walls)
    floor = random.choice(((206, 172, 132), (190, 156, 124), (198, 186, 172)))
    picture = _outdoors(random, (mixed(wall, (255, 255, 255), 0.15), wall),
                        (floor, scaled(floor, 0.9)), horizon)  # fmt: skip
    draw = ImageDraw.Draw(picture)
    stripe = scaled(wall, 0.975)
    if random.random() < 0.5:
        for x in range(random.randint(0, 30), _SIDE, 44):
            draw.rectangle((x, 0, x + 18, horizon), fill=stripe)
    left = random.randint(20, 270)
    if random.random() < 0.7:
        draw.rectangle((left, 28, left + 88, 118), fill=(250, 248, 242))
        draw.rectangle((left + 7, 35, left + 81, 111), fill=(188, 218, 234))
        draw.polygon([(left + 7, 111), (left + 7, 88), (left + 81, 80), (left + 81, 111)],
                     fill=(176, 206, 156))  # fmt: skip
        draw.line((left + 44, 33, left + 44, 113), fill=(250, 248, 242), width=5)
        draw.line((left + 5, 73, left + 83, 73), fill=(250, 248, 242), width=5)
    frame = (left + 190) % 330
    draw.rectangle((frame, 48, frame + 46, 92), fill=(168, 132, 96))
    draw.rectangle((frame + 5, 53, frame + 41, 87), fill=mixed(wall, (190, 150, 150), 0.5))
    draw.rectangle((0, horizon - 9, _SIDE, horizon), fill=mixed(wall, (255, 255, 255), 0.6))
    for y in range(horizon + 22, _SIDE, 34):
        draw.line((0, y, _SIDE, y), fill=scaled(floor, 0.9), width=2)
        for x in range(random.randint(0, 100), _SIDE, 110):
            draw.line((x, y, x, y + 34), fill=scaled(floor, 0.9), width=2)
    return picture


def _garden(random: Random) -> Image.Image:
    horizon = random.randint(160, 185)
    ground: tuple[RGB, RGB] = ((166, 200, 128), (146, 186, 112))
    picture = _outdoors(random, ((166, 206, 230), (230, 238, 238)), ground, horizon)
    picture = _clouds(picture, random, horizon)
    draw = ImageDraw.Draw(picture)
    hedge = jittered((124, 164, 110), random, 8)
    for x in range(-10, _SIDE, 26):
        radius = random.randint(22, 34)
        draw.ellipse((x - radius, horizon - radius, x + radius, horizon + radius), fill=hedge)
    draw.rectangle((0, horizon, _SIDE, horizon + 40), fill=mixed(ground[0], (255, 255, 255), 0.08))
    fence = jittered((226, 216, 198), random, 6)
    for x in range(random.randint(-20, 0), _SIDE, 26):
        draw.polygon([(x, horizon + 8), (x, horizon - 40), (x + 7, horizon - 48),
                      (x + 14, horizon - 40), (x + 14, horizon + 8)], fill=fence)  # fmt: skip
    draw.rectangle((0, horizon - 30, _SIDE, horizon - 23), fill=scaled(fence, 0.92))
    draw.rectangle((0, horizon - 8, _SIDE, horizon - 1), fill=scaled(fence, 0.92))
    _tufts(draw, random, horizon, (128, 168, 100), 30)
    return picture


_PAINT: Mapping[str, Callable[[Random], Image.Image]] = {
    "meadow": _meadow,
    "beach": _beach,
    "street": _street,
    "room": _room,
    "garden": _garden,
}
