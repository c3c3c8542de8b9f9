"""Which function draws which kind, and how wide and high each kind is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vlm_lens.demo.scenes.animals import draw_cat, draw_cow, draw_dog, draw_horse, draw_sheep
from vlm_lens.demo.scenes.bird_and_person import draw_bird, draw_person
from vlm_lens.demo.scenes.canvas import Pen
from vlm_lens.demo.scenes.things import (
    draw_ball,
    draw_boat,
    draw_car,
    draw_cup,
    draw_flower,
    draw_house,
    draw_tree,
)


@dataclass(frozen=True)
class Figure:
    """One kind's drawing.

    Width and height are in the figure's own units; `bulk` scales the drawn size, so that a ball
    does not fill four times the area of a person of the same height.
    """

    draw: Callable[[Pen], None]
    width: float
    height: float
    bulk: float = 1.0


FIGURES: Mapping[str, Figure] = {
    "bird": Figure(draw_bird, 1.1, 0.88),
    "cat": Figure(draw_cat, 1.0, 0.95),
    "cow": Figure(draw_cow, 1.1, 0.95),
    "dog": Figure(draw_dog, 1.1, 0.92),
    "horse": Figure(draw_horse, 1.1, 1.12),
    "person": Figure(draw_person, 0.5, 1.0),
    "sheep": Figure(draw_sheep, 1.05, 0.8),
    "car": Figure(draw_car, 1.0, 0.5, 1.05),
    "ball": Figure(draw_ball, 1.0, 1.0, 0.72),
    "cup": Figure(draw_cup, 1.0, 0.95, 0.78),
    "tree": Figure(draw_tree, 0.85, 1.0),
    "boat": Figure(draw_boat, 0.96, 1.0),
    "flower": Figure(draw_flower, 0.7, 1.0),
    "house": Figure(draw_house, 1.0, 0.95, 0.95),
}
