"""The sentence forms of the bundled texts."""

from collections.abc import Mapping

import numpy as np

from vlm_lens.demo.scenes.canvas import PARTS_PER_OBJECT
from vlm_lens.demo.scenes.scene import SceneObject
from vlm_lens.demo.scenes.vocabulary import PARTS, merged_part

WHERE = {"left": "on the left", "middle": "in the middle", "right": "on the right"}

_PLURAL = {"foot": "feet", "leaf": "leaves"}
_ALREADY_PLURAL = ("petals", "hair")
_DRAWN_IN_PAIRS = ("window", "leaf")
_LEAST_PIXELS = 12
_LEAST_PIXELS_OF_SIDE = 4


def with_article(noun: str) -> str:
    """A noun with "a" or "an", or alone where it is plural already."""
    if noun in _ALREADY_PLURAL:
        return noun
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def plural(noun: str) -> str:
    """The plural of a part's name."""
    return noun if noun in _ALREADY_PLURAL else _PLURAL.get(noun, f"{noun}s")


def part_names(kind: str) -> tuple[str, ...]:
    """The parts of a kind without their sides, in order, each once."""
    return tuple(dict.fromkeys(merged_part(part) for part in PARTS[kind]))


def visible_parts(found: SceneObject) -> dict[str, int]:
    """The object's parts that show, without sides, in the kind's order; how many sides of each.

    A part counts where all its sides together show at least 12 pixels, a side where it shows 4.
    """
    first = found.number * PARTS_PER_OBJECT
    counts = np.bincount(found.label_map.ravel(), minlength=first + PARTS_PER_OBJECT)
    n_pixels: dict[str, int] = {}
    n_sides: dict[str, int] = {}
    for place, part in enumerate(PARTS[found.kind], start=first + 1):
        name = merged_part(part)
        n_pixels[name] = n_pixels.get(name, 0) + int(counts[place])
        n_sides[name] = n_sides.get(name, 0) + int(counts[place] >= _LEAST_PIXELS_OF_SIDE)
    return {name: n_sides[name] for name, n in n_pixels.items() if n >= _LEAST_PIXELS}


def listed(words: list[str]) -> str:
    """Words in one phrase: "a head, legs and a tail"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def parts_phrase(parts: Mapping[str, int]) -> str:
    """Parts as a phrase; what shows on two sides is named in the plural."""
    return listed(
        [
            plural(part) if n_sides > 1 or part in _DRAWN_IN_PAIRS else with_article(part)
            for part, n_sides in parts.items()
        ]
    )


def object_sentence(found: SceneObject) -> str:
    """One object in a sentence: "A brown cat is on the bed on the left."."""
    on = f" on the {found.surface}" if found.surface else ""
    return f"A {found.color} {found.kind} is{on} {WHERE[found.place]}."


def parts_sentence(found: SceneObject) -> str | None:
    """An object's parts in a sentence: "The cat has a head, ears and a tail."; None without parts."""
    parts = visible_parts(found)
    return f"The {found.kind} has {parts_phrase(parts)}." if parts else None
