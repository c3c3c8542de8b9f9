"""The bundled scenes as a dataset: drawn by their seeds, known to the pixel."""

from collections.abc import Mapping
from functools import lru_cache, partial
from random import Random

import numpy as np
from jaxtyping import Bool
from PIL import Image

from vlm_lens.data.dataset import Dataset
from vlm_lens.data.example import Annotation, Example, Question
from vlm_lens.data.fingerprint import fingerprint_of
from vlm_lens.demo.scenes import Scene, draw_scene, merged_part
from vlm_lens.demo.text import Turn, color_turns, describe, on_turns, presence_turns

FIRST_SEED = 9_600_000
"""Scenes from here on were never looked at while the bundled model was made."""

N_PRESENCE = 2


def read_scenes(n: int = 100, first: int = FIRST_SEED, n_objects: int | None = None, surfaces: bool = False) -> Dataset:
    """Scenes with their objects, parts (left and right merged), a description and questions.

    They show combinations of kind, colour and place that training never showed.

    Args:
        n: how many.
        first: the first seed.
        n_objects: 1 to 4 in each; drawn at random where None.
        surfaces: whether something stands on a surface in each, so that "What is on the ...?" can be asked.

    Example:
        >>> sorted(one.category for one in read_scenes(1, n_objects=2)[0].annotations)
        ['ball', 'person']
    """
    examples = tuple(_example(seed, n_objects, surfaces) for seed in range(first, first + n))
    known = [[one.id, one.captions, [[o.category, o.area] for o in one.annotations]] for one in examples]
    told = {"n": n, "first": first, "n_objects": n_objects, "surfaces": surfaces}
    name = " ".join(["scenes", *(f"{key}={value}" for key, value in told.items() if value)])
    return Dataset(name, fingerprint_of(known), examples)


# Drawing is cheap beside a model, and a scene's masks are asked for one after another.
@lru_cache(maxsize=16)
def _drawn(seed: int, n_objects: int | None, surfaces: bool) -> Scene:
    return draw_scene(seed, "heldout", n_objects, require_surface=surfaces)


def _example(*key: int | bool | None) -> Example:
    scene = _drawn(*key)
    turns = [
        *presence_turns(scene, Random(scene.seed), N_PRESENCE),
        *on_turns(scene, Random(scene.seed)),
        *color_turns(scene, Random(scene.seed)),
    ]
    height, width, _ = scene.image.shape
    annotations = tuple(
        Annotation(found.kind, float(found.mask.sum()), partial(_mask, number, *key), partial(_parts, number, *key))
        for number, found in enumerate(scene.objects)
    )
    caption = describe(scene, Random(scene.seed))
    return Example(
        str(scene.seed), partial(_image, *key), (height, width), annotations, (caption,), tuple(map(_question, turns))
    )


def _question(turn: Turn) -> Question:
    return Question(turn.question, turn.answer, "existence" if turn.task == "presence" else turn.task)


def _image(*key: int | bool | None) -> Image.Image:
    return Image.fromarray(_drawn(*key).image)


def _mask(number: int, *key: int | bool | None) -> Bool[np.ndarray, "height width"]:
    return _drawn(*key).objects[number].mask


def _parts(number: int, *key: int | bool | None) -> Mapping[str, Bool[np.ndarray, "height width"]]:
    merged: dict[str, Bool[np.ndarray, "height width"]] = {}
    for part, mask in _drawn(*key).objects[number].parts.items():
        name = merged_part(part)
        merged[name] = merged[name] | mask if name in merged else mask
    return merged
