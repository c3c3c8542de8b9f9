"""The drawn scenes: their masks, their words, what is held out, and that they stay what they were."""

from random import Random

import numpy as np
import pytest

from vlm_lens.demo.scenes import (
    COLORS,
    COLORS_OF,
    COMPANIONS,
    KINDS,
    PARTS,
    PLACES,
    SPLITS,
    SURFACES,
    Scene,
    draw_scene,
    is_heldout,
)
from vlm_lens.demo.scenes import scene as scene_module
from vlm_lens.errors import InputError

N = 60


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[Scene]]:
    return {split: [draw_scene(seed, split) for seed in range(N)] for split in SPLITS}


def test_a_scene_is_determined_by_its_arguments() -> None:
    first, again = draw_scene(3, "train"), draw_scene(3, "train")
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.label_map, again.label_map)
    assert not np.array_equal(first.image, draw_scene(3, "heldout").image)
    assert not np.array_equal(first.image, draw_scene(4, "train").image)


def test_pictures_have_one_size_and_one_to_four_different_kinds(scenes: dict[str, list[Scene]]) -> None:
    for scene in scenes["train"] + scenes["heldout"]:
        assert scene.image.shape == (192, 192, 3) and scene.image.dtype == np.uint8
        kinds = [found.kind for found in scene.objects]
        assert 1 <= len(kinds) <= 4 and len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("n_objects", [1, 2, 3, 4])
def test_the_number_of_objects_can_be_chosen(n_objects: int) -> None:
    assert all(len(draw_scene(seed, n_objects=n_objects).objects) == n_objects for seed in range(8))


def test_a_required_surface_carries_an_object() -> None:
    for seed in range(15):
        scene = draw_scene(seed, require_surface=True)
        assert scene.surfaces and any(found.surface for found in scene.objects)


def test_masks_do_not_overlap_and_are_the_label_map(scenes: dict[str, list[Scene]]) -> None:
    for scene in scenes["train"]:
        everything = (*scene.objects, *scene.surfaces)
        n_claims = np.sum([found.mask for found in everything], axis=0)
        assert n_claims.max() == 1
        assert np.array_equal(n_claims == 0, scene.label_map == 0)
        for found in everything:
            assert found.mask.any()


def test_parts_lie_within_their_object_and_do_not_overlap(scenes: dict[str, list[Scene]]) -> None:
    for scene in scenes["train"]:
        for found in scene.objects:
            n_claims = np.sum(list(found.parts.values()), axis=0)
            assert n_claims.max() == 1
            assert not (n_claims.astype(bool) & ~found.mask).any()
            assert set(found.parts) <= set(PARTS[found.kind])


def test_every_part_of_every_kind_is_drawn_somewhere(scenes: dict[str, list[Scene]]) -> None:
    drawn: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for scene in scenes["train"] + scenes["heldout"]:
        for found in scene.objects:
            drawn[found.kind] |= set(found.parts)
    assert {kind: set(PARTS[kind]) for kind in KINDS} == drawn


def test_objects_stand_in_the_third_that_they_are_said_to_be_in(scenes: dict[str, list[Scene]]) -> None:
    right = []
    for scene in scenes["train"] + scenes["heldout"]:
        for found in scene.objects:
            column = np.argwhere(found.mask)[:, 1].mean()
            right.append(PLACES[int(column // 64)] == found.place)
    assert np.mean(right) > 0.98


def test_large_objects_are_larger_than_small_ones_of_their_kind(scenes: dict[str, list[Scene]]) -> None:
    extents: dict[tuple[str, str], list[int]] = {}
    for scene in scenes["train"] + scenes["heldout"]:
        for found in scene.objects:
            rows, columns = np.nonzero(found.mask)
            extent = max(np.ptp(rows), np.ptp(columns))
            extents.setdefault((found.kind, found.size), []).append(int(extent))
    for kind in KINDS:
        assert np.mean(extents[kind, "large"]) > 1.25 * np.mean(extents[kind, "small"])


def test_an_object_stands_over_its_surface(scenes: dict[str, list[Scene]]) -> None:
    for scene in scenes["train"]:
        kinds = [surface.kind for surface in scene.surfaces]
        assert len(set(kinds)) == len(kinds)
        assert sorted(kinds) == sorted(found.surface for found in scene.objects if found.surface)
        for found in scene.objects:
            if found.surface:
                surface = scene.surfaces[kinds.index(found.surface)]
                feet = np.argwhere(found.mask)[:, 0].max()
                rows = np.argwhere(surface.mask)[:, 0]
                assert feet <= rows.max() + 3
                below = np.argwhere(surface.mask)[:, 1]
                center = np.argwhere(found.mask)[:, 1].mean()
                assert below.min() - 8 <= center <= below.max() + 8


def test_every_object_shows_most_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    paint = scene_module._paint

    def paint_and_note(*arguments: object) -> float:
        shares.append(paint(*arguments))  # type: ignore[arg-type]
        return shares[-1]

    monkeypatch.setattr(scene_module, "_paint", paint_and_note)
    for seed in range(25):
        draw_scene(seed, n_objects=4)
        assert shares[-1] > 0.6


def test_training_never_shows_a_combination_that_is_held_out(scenes: dict[str, list[Scene]]) -> None:
    for split in SPLITS:
        for scene in scenes[split]:
            for found in scene.objects:
                held = is_heldout(found.kind, found.color, found.place)
                assert held == (split == "heldout")


def test_about_a_tenth_of_the_combinations_is_held_out_and_none_hides_a_kind_or_colour() -> None:
    everything = [(k, c, p) for k in KINDS for c in COLORS_OF[k] for p in PLACES]
    held = {combination for combination in everything if is_heldout(*combination)}
    assert 0.08 < len(held) / len(everything) < 0.15
    assert {kind for kind, _, _ in held} == set(KINDS)
    shown = set(everything) - held
    assert {(k, c) for k, c, _ in shown} == {(k, c) for k, c, _ in everything}
    assert {(k, p) for k, _, p in shown} == {(k, p) for k, _, p in everything}


def test_the_tables_of_words_fit_each_other() -> None:
    assert set(COMPANIONS) == set(PARTS) == set(KINDS) and len(KINDS) >= 12
    assert {"bird", "cat", "cow", "dog", "horse", "person", "sheep"} <= set(KINDS)
    assert {color for colors in COLORS_OF.values() for color in colors} == set(COLORS)
    for kind, companions in COMPANIONS.items():
        assert kind not in companions and set(companions) <= set(KINDS)
    assert all(word[0] not in "aeiou" for word in (*KINDS, *COLORS, *SURFACES))


def test_companions_stand_together_more_often_than_chance(scenes: dict[str, list[Scene]]) -> None:
    pairs = together = 0
    for scene in scenes["train"]:
        for first in scene.objects:
            for second in scene.objects:
                if first is not second:
                    pairs += 1
                    together += second.kind in COMPANIONS[first.kind]
    by_chance = np.mean([len(companions) / (len(KINDS) - 1) for companions in COMPANIONS.values()])
    assert together / pairs > 1.4 * by_chance


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="Scene split: expected one of"):
        draw_scene(0, "validation")
    with pytest.raises(InputError, match="Number of objects in a scene: expected 1 to 4, got 5"):
        draw_scene(0, n_objects=5)


@pytest.mark.parametrize(
    ("seed", "split", "words", "mean_color"),
    [
        (0, "train", ["white ball middle None"], (200, 204, 195)),
        (7, "train", ["yellow ball right sofa"], (200, 191, 164)),
        (1234, "train", ["black horse left bench"], (165, 197, 164)),
        (0, "heldout", ["green tree middle None"], (137, 178, 137)),
        (
            7,
            "heldout",
            ["blue person right None", "gray dog left table", "white sheep middle None"],
            (193, 202, 193),
        ),
    ],
)
def test_scenes_are_still_those_that_the_bundled_model_was_trained_on(
    seed: int, split: str, words: list[str], mean_color: tuple[int, int, int]
) -> None:
    scene = draw_scene(seed, split)
    found = [f"{one.color} {one.kind} {one.place} {one.surface}" for one in scene.objects]
    assert sorted(found) == words
    assert np.allclose(scene.image.mean(axis=(0, 1)), mean_color, atol=1.5)


def test_random_state_outside_is_left_alone() -> None:
    outside = Random(0)
    before = outside.getstate()
    np_before = np.random.get_state()[1].copy()
    draw_scene(11)
    assert outside.getstate() == before
    assert np.array_equal(np.random.get_state()[1], np_before)
