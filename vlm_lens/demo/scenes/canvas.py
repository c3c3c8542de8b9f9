"""A canvas that paints the picture and, with the same strokes, the map of labels."""

import math
from functools import cache
from random import Random

import numpy as np
from jaxtyping import Float, Int16, UInt8
from PIL import Image, ImageDraw

from vlm_lens.demo.scenes.palette import RGB, Tones
from vlm_lens.demo.scenes.vocabulary import PARTS

SIZE = 192
"""Height and width of a scene in pixels."""

PARTS_PER_OBJECT = 16
"""A label is `16 * number + part`: number 0 is the background, part 0 what belongs to no part."""

_OVERSAMPLING = 2

Number = int | float
Point = tuple[Number, Number]
Points = Float[np.ndarray, "point 2"]

_ANGLES = np.linspace(0.0, 2 * math.pi, 26, endpoint=False)
_CIRCLE: Points = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_HALF_ANGLES = np.linspace(-math.pi / 2, math.pi / 2, 9)
_HALF_CIRCLE: Points = np.stack([np.cos(_HALF_ANGLES), np.sin(_HALF_ANGLES)], axis=1)


@cache
def _smoothing(n_points: int, n_steps: int = 5) -> Float[np.ndarray, "smooth point"]:
    """The matrix that turns control points into a closed Catmull-Rom curve."""
    matrix = np.zeros((n_points * n_steps, n_points))
    for start in range(n_points):
        for step in range(n_steps):
            t = step / n_steps
            weights = (
                -0.5 * t + t**2 - 0.5 * t**3,
                1 - 2.5 * t**2 + 1.5 * t**3,
                0.5 * t + 2 * t**2 - 1.5 * t**3,
                -0.5 * t**2 + 0.5 * t**3,
            )
            for offset, weight in enumerate(weights):
                matrix[start * n_steps + step, (start + offset - 1) % n_points] += weight
    return matrix


@cache
def _shadow(half_width: int) -> Image.Image:
    size = (half_width * 2 * _OVERSAMPLING, max(2, half_width * _OVERSAMPLING // 3))
    rows = np.linspace(-1, 1, size[1])[:, None]
    columns = np.linspace(-1, 1, size[0])[None, :]
    strength = np.clip(1 - rows**2 - columns**2, 0, 1) ** 0.6 * 78
    return Image.fromarray(strength.astype(np.uint8))


class Canvas:
    """A picture twice as fine as the scene, and a map of labels exactly as fine."""

    def __init__(self, background: Image.Image) -> None:
        self._picture = background
        self._labels = Image.new("L", (SIZE, SIZE), 0)
        self._paint = ImageDraw.Draw(self._picture)
        self._mark = ImageDraw.Draw(self._labels)

    def fill(self, points: Points, color: RGB, label: int | None) -> None:
        """Fill a polygon given in pixels; label None leaves the map of labels as it is."""
        self._paint.polygon((points * _OVERSAMPLING).ravel().tolist(), fill=color)
        if label is not None:
            self._mark.polygon(points.ravel().tolist(), fill=label)

    def shadow(self, x: Number, y: Number, half_width: Number) -> None:
        """Darken the ground under something that stands at (x, y)."""
        cover = _shadow(int(half_width * 0.9))
        width, height = cover.size
        corner = (int(x * _OVERSAMPLING - width / 2), int(y * _OVERSAMPLING - height / 2))
        self._picture.paste((40, 40, 52), corner, cover)

    def n_pixels(self, number: int) -> int:
        """How many pixels of an object show at the moment."""
        return int(np.count_nonzero(np.asarray(self._labels) // PARTS_PER_OBJECT == number))

    def label_map(self) -> Int16[np.ndarray, "height width"]:
        """The labels painted so far."""
        return np.asarray(self._labels).astype(np.int16)

    def image(self) -> UInt8[np.ndarray, "height width channel"]:
        """The picture, averaged down to the scene's size."""
        return np.asarray(self._picture.reduce(_OVERSAMPLING))


class Pen:
    """Draws one object in its own coordinates: feet at (0, 0), y upwards negative, facing right.

    Args:
        canvas: where to draw.
        number: the object's number on the map of labels, 1 or more.
        kind: the object's kind, which names its parts.
        origin: where (0, 0) stands, in pixels.
        scale: pixels for one unit.
        tones: the object's own colours.
        random: the source of everything that varies in a figure.
        is_flipped: whether the object faces left.
        angle: rotation in radians about the origin.
    """

    def __init__(
        self,
        canvas: Canvas,
        number: int,
        kind: str,
        origin: Point,
        scale: Number,
        tones: Tones,
        random: Random,
        is_flipped: bool = False,
        angle: Number = 0.0,
    ) -> None:
        self.canvas = canvas
        self.tones = tones
        self.random = random
        self.is_flipped = is_flipped
        self._first_label = number * PARTS_PER_OBJECT
        self._parts = {part: place for place, part in enumerate(PARTS.get(kind, ()), start=1)}
        cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
        sign = -1.0 if is_flipped else 1.0
        self._matrix = np.array([[sign * cosine, sine], [-sign * sine, cosine]])
        self._offset = np.array(origin)

    def turned(self, x: Number, y: Number, angle: Number, scale: Number = 1.0) -> "Pen":
        """A pen for a movable part: its (0, 0) stands at (x, y), turned by an angle."""
        pen = object.__new__(Pen)
        pen.__dict__.update(self.__dict__)
        cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
        pen._matrix = np.array([[cosine, sine], [-sine, cosine]]) @ self._matrix
        pen._offset = np.array((x, y)) @ self._matrix + self._offset
        return pen

    @property
    def near(self) -> str:
        """The animal's side that is turned to us when it stands in profile."""
        return "left" if self.is_flipped else "right"

    @property
    def far(self) -> str:
        """The animal's side that is turned away when it stands in profile."""
        return "right" if self.is_flipped else "left"

    def polygon(self, points: Points | list[Point], color: RGB, part: str | None = None, mark: bool = True) -> None:
        """Fill a polygon, and mark it as the part (or as the object's rest)."""
        label = None
        if mark:
            label = self._first_label + (self._parts[part] if part else 0)
        self.canvas.fill(np.asarray(points) @ self._matrix + self._offset, color, label)

    def smooth(self, points: list[Point], color: RGB, part: str | None = None, mark: bool = True) -> None:
        """Fill the closed smooth curve through some points."""
        self.polygon(_smoothing(len(points)) @ np.asarray(points), color, part, mark)

    def ellipse(
        self,
        x: Number,
        y: Number,
        radius_x: Number,
        radius_y: Number,
        color: RGB,
        part: str | None = None,
        angle: Number = 0.0,
        mark: bool = True,
    ) -> None:
        """Fill an ellipse."""
        points = _CIRCLE * (radius_x, radius_y)
        if angle:
            cosine, sine = math.cos(angle), math.sin(angle)
            points = points @ np.array([[cosine, sine], [-sine, cosine]])
        self.polygon(points + (x, y), color, part, mark)

    def limb(
        self,
        start: Point,
        end: Point,
        start_width: Number,
        end_width: Number,
        color: RGB,
        part: str | None = None,
        mark: bool = True,
    ) -> None:
        """Fill a tapered bar with round ends."""
        delta_x, delta_y = end[0] - start[0], end[1] - start[1]
        length = math.hypot(delta_x, delta_y) or 1.0
        along = np.array([[delta_x, delta_y], [-delta_y, delta_x]]) / length
        first = (_HALF_CIRCLE * (-start_width / 2, -start_width / 2)) @ along + start
        second = (_HALF_CIRCLE * (end_width / 2, end_width / 2)) @ along + end
        self.polygon(np.concatenate([first, second]), color, part, mark)
