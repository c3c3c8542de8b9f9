"""Captions for contrastive training: a finite grammar in which each caption is true or false."""

from collections.abc import Iterator
from random import Random

from vlm_lens.demo.scenes.scene import Scene, SceneObject
from vlm_lens.demo.scenes.vocabulary import (
    BACKGROUNDS,
    COLORS_OF,
    COMPANIONS,
    KINDS,
    PLACES,
    SURFACES,
)
from vlm_lens.demo.text.grammar import (
    WHERE,
    object_sentence,
    part_names,
    visible_parts,
    with_article,
)


def photo_of(word: str) -> str:
    """The caption that names one thing: "a photo of a cat."."""
    return f"a photo of {with_article(word)}."


def true_captions(scene: Scene) -> list[str]:
    """Every caption of the grammar that is true of a scene, kinds first, each once."""
    captions = [photo_of(found.kind) for found in scene.objects]
    for found in scene.objects:
        captions.append(photo_of(f"{found.color} {found.kind}"))
        captions.append(f"a {found.kind} {WHERE[found.place]}.")
        captions.append(f"a {found.color} {found.kind} {WHERE[found.place]}.")
        if found.surface:
            captions.append(f"a {found.kind} on a {found.surface}.")
            captions.append(f"a {found.color} {found.kind} on a {found.surface}.")
    captions += [
        f"a {first.kind} and a {second.kind}."
        for first in scene.objects
        for second in scene.objects
        if first is not second
    ]
    captions.append(" ".join(object_sentence(found) for found in left_to_right(scene)))
    captions += [photo_of(surface.kind) for surface in scene.surfaces]
    captions.append(photo_of(scene.background))
    captions += [photo_of(part) for found in scene.objects for part in visible_parts(found)]
    return list(dict.fromkeys(captions))


def left_to_right(scene: Scene) -> list[SceneObject]:
    """The objects in the order in which a description names them."""
    return sorted(scene.objects, key=lambda found: (PLACES.index(found.place), found.number))


def false_captions(scene: Scene, rng: Random, n: int) -> list[str]:
    """Different captions, n of them, that are false of a scene, most of them nearly true."""
    true = set(true_captions(scene))
    captions: dict[str, None] = {}
    while len(captions) < n:
        caption = _nearly_true(scene, rng)
        if caption not in true:
            captions[caption] = None
    return list(captions)


def _nearly_true(scene: Scene, rng: Random) -> str:
    found = rng.choice(scene.objects)
    others = [kind for kind in KINDS if kind != found.kind]
    kind = rng.choice((*COMPANIONS[found.kind], rng.choice(others)))
    form = rng.randrange(7)
    if form == 0:
        return photo_of(kind)
    if form == 1:
        return photo_of(f"{rng.choice(COLORS_OF[found.kind])} {found.kind}")
    if form == 2:
        return f"a {found.kind} {WHERE[rng.choice(PLACES)]}."
    if form == 3:
        return f"a {kind} {WHERE[found.place]}."
    if form == 4:
        return f"a {found.kind} on a {rng.choice(SURFACES)}."
    if form == 5:
        return f"a {kind} on a {rng.choice(SURFACES)}."
    return f"a {found.kind} and a {kind}."


def all_captions() -> Iterator[str]:
    """Every caption of the grammar but the ones that join whole descriptions."""
    for kind in KINDS:
        yield photo_of(kind)
        for other in KINDS:
            if other != kind:
                yield f"a {kind} and a {other}."
        for name in (kind, *(f"{color} {kind}" for color in COLORS_OF[kind])):
            yield photo_of(name)
            yield from (f"a {name} {WHERE[place]}." for place in PLACES)
            yield from (f"a {name} on a {surface}." for surface in SURFACES)
        yield from (photo_of(part) for part in part_names(kind))
    yield from (photo_of(word) for word in (*SURFACES, *BACKGROUNDS))
