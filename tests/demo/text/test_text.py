"""Texts about scenes: all of them true, questions balanced, every word known in advance."""

import re
from collections import Counter
from random import Random

import pytest

from vlm_lens.demo.examples import example_scenes
from vlm_lens.demo.scenes import COMPANIONS, KINDS, PLACES, Scene, draw_scene, is_heldout
from vlm_lens.demo.scenes.vocabulary import merged_part
from vlm_lens.demo.text import (
    DESCRIBE,
    all_captions,
    corpus,
    describe,
    false_captions,
    photo_of,
    presence_turns,
    true_captions,
    turns,
)
from vlm_lens.demo.text.grammar import parts_phrase, plural, visible_parts, with_article


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(seed, ("train", "heldout")[seed % 2]) for seed in range(80)]


PLACE_OF = {"on the left": "left", "in the middle": "middle", "on the right": "right"}
SENTENCE = re.compile(
    r"A (\w+) (\w+) is(?: on the (bed|table|sofa|bench|rug|shelf))? (on the left|in the middle|on the right)\."
)


def test_a_description_parsed_back_is_the_scene(scenes: list[Scene]) -> None:
    for scene in scenes:
        parsed = SENTENCE.findall(describe(scene, Random(0)))
        told = {(color, kind, surface or None, PLACE_OF[place]) for color, kind, surface, place in parsed}
        assert told == {(one.color, one.kind, one.surface, one.place) for one in scene.objects}
        places = [PLACES.index(PLACE_OF[place]) for *_, place in parsed]
        assert places == sorted(places)


def test_a_description_ends_with_parts_that_show(scenes: list[Scene]) -> None:
    for scene in scenes:
        [(kind, phrase)] = re.findall(r"The (\w+) has ([^.]+)\.$", describe(scene, Random(0)))
        [found] = [one for one in scene.objects if one.kind == kind]
        assert found.mask.sum() == max(one.mask.sum() for one in scene.objects)
        said = re.split(r", | and ", phrase)
        drawn = {form for part in found.parts for form in _forms(merged_part(part))}
        assert set(said) <= drawn and len(set(said)) == len(said)


def _forms(part: str) -> set[str]:
    return {with_article(part), plural(part)}


def test_visible_parts_show_at_least_twelve_pixels(scenes: list[Scene]) -> None:
    for scene in scenes:
        for found in scene.objects:
            n_pixels: Counter[str] = Counter()
            n_sides: Counter[str] = Counter()
            for part, mask in found.parts.items():
                n_pixels[merged_part(part)] += int(mask.sum())
                n_sides[merged_part(part)] += int(mask.sum() >= 4)
            expected = {part: n_sides[part] for part, n in n_pixels.items() if n >= 12}
            assert visible_parts(found) == expected


def test_every_answer_is_true_of_the_scene(scenes: list[Scene]) -> None:
    for scene in scenes:
        found = {one.kind: one for one in scene.objects}
        asked = turns(scene, Random(1))
        tasks = Counter(turn.task for turn in asked)
        assert tasks["describe"] == 1 and tasks["presence"] == 4 and tasks["parts"] == 1
        assert tasks["on"] == len(scene.surfaces)
        assert tasks["color"] == tasks["place"] == len(scene.objects)
        for turn in asked:
            words = turn.question.rstrip("?").split()
            if turn.task == "presence":
                assert turn.answer == ("Yes" if words[3] in found else "No")
            elif turn.task == "on":
                assert turn.answer_prefix == "It is a" and found[turn.answer].surface == words[-1]
            elif turn.task == "color":
                assert turn.answer_prefix == "It is" and found[words[-1]].color == turn.answer
            elif turn.task == "place":
                assert found[words[-1]].place == PLACE_OF[turn.answer]
            elif turn.task == "parts":
                assert turn.answer == parts_phrase(visible_parts(found[words[4]]))
            else:
                assert turn.question == DESCRIBE == "Describe this image."


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_presence_questions_are_balanced(scenes: list[Scene], n: int) -> None:
    answers = [turn.answer for scene in scenes for turn in presence_turns(scene, Random(scene.seed), n)]
    assert len(answers) == n * len(scenes)
    tolerance = 0 if n % 2 == 0 else len(scenes) / 5
    assert abs(answers.count("Yes") - answers.count("No")) <= 2 * tolerance


def test_absent_kinds_are_mostly_likely_companions(scenes: list[Scene]) -> None:
    likely = n = 0
    for scene in scenes:
        present = [one.kind for one in scene.objects]
        for turn in presence_turns(scene, Random(scene.seed), 8):
            if turn.answer == "No":
                kind = turn.question.split()[3]
                likely += any(kind in COMPANIONS[other] for other in present)
                n += 1
    assert likely / n > 0.7


def test_the_same_generator_gives_the_same_turns(scenes: list[Scene]) -> None:
    assert turns(scenes[0], Random(5)) == turns(scenes[0], Random(5))


def test_captions_name_what_is_there_and_false_ones_what_is_not(scenes: list[Scene]) -> None:
    for scene in scenes:
        true = true_captions(scene)
        assert len(set(true)) == len(true)
        present = {one.kind for one in scene.objects}
        assert {kind for kind in KINDS if photo_of(kind) in true} == present
        for one in scene.objects:
            assert f"a photo of a {one.color} {one.kind}." in true
            on = {caption for caption in true if caption.startswith(f"a {one.kind} on a ")}
            assert on == ({f"a {one.kind} on a {one.surface}."} if one.surface else set())
        false = false_captions(scene, Random(2), 12)
        assert len(set(false)) == 12 and not set(false) & set(true)
        assert set(false) <= set(all_captions())


def test_all_captions_contain_every_short_true_one(scenes: list[Scene]) -> None:
    grammar = set(all_captions())
    for scene in scenes:
        assert {caption for caption in true_captions(scene) if caption[0].islower()} <= grammar


def words_of(text: str) -> set[str]:
    return set(re.findall(r"\w+|[^\w\s]", text))


def test_the_corpus_knows_every_word_that_is_ever_said(scenes: list[Scene]) -> None:
    known = set().union(*(words_of(line) for line in corpus()))
    for scene in scenes:
        for turn in turns(scene, Random(3)):
            assert words_of(f"{turn.question} {turn.answer_prefix} {turn.answer}") <= known
        for caption in true_captions(scene):
            assert words_of(caption) <= known


def test_articles_fit_their_nouns() -> None:
    for line in corpus():
        assert not re.search(r"\b[Aa] [aeiou]", line) and not re.search(r"\b[Aa]n [^aeiou]", line)


def test_examples_are_held_out_and_their_answers_true() -> None:
    examples = example_scenes()
    assert len(examples) == 6
    for example in examples:
        scene, turn = example.scene, example.turn
        assert all(is_heldout(one.kind, one.color, one.place) for one in scene.objects)
        present = [one.kind for one in scene.objects]
        if turn.task == "presence":
            kind = turn.question.split()[3]
            assert turn.answer == ("Yes" if kind in present else "No")
            assert example.subject is None if kind not in present else example.subject.kind == kind
        elif turn.task == "on":
            assert example.subject.kind == turn.answer
            assert example.subject.surface == turn.question.rstrip("?").split()[-1]
        else:
            assert turn.answer == describe(scene, Random(0))
