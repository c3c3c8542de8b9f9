"""Which objects the offline judge reads in a caption, rule by rule."""

import pytest

from vlm_lens.demo.scenes.vocabulary import BACKGROUNDS, KINDS, SURFACES
from vlm_lens.metrics.judges.object_list import ObjectListJudge

JUDGE = ObjectListJudge()


def named(caption: str, judge: ObjectListJudge = JUDGE) -> set[str]:
    return {one.name for one in judge.objects(caption)}


def test_an_object_knows_where_it_is_named() -> None:
    caption = "Two dogs and a fire hydrant. The dogs sleep."
    dog, hydrant = JUDGE.objects(caption)
    assert [mention.text for mention in dog.mentions] == ["dogs", "dogs"]
    assert [caption[mention.start : mention.stop] for mention in hydrant.mentions] == ["fire hydrant"]
    assert [mention.start for mention in dog.mentions] == [4, 33]


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("Three women, two mice and some knives.", {"woman", "mouse", "knife"}),
        ("Geese, sheep and wolves.", {"goose", "sheep", "wolf"}),
        ("Scissors, jeans and a pair of shorts.", {"scissors", "jeans", "shorts"}),
        ("A bus, a dress and a glass of beer.", {"bus", "dress", "glass", "beer"}),
    ],
)
def test_plurals_are_read_as_their_singulars(caption: str, objects: set[str]) -> None:
    assert named(caption) == objects


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("A hot dog.", {"hot dog"}),
        ("A teddy bear.", {"teddy bear"}),
        ("Two wine glasses.", {"wine glass"}),
        ("A boy with a baseball bat.", {"boy", "baseball bat"}),
        ("A traffic light and a stop sign.", {"traffic light", "stop sign"}),
        ("A T-shirt and a double-decker bus.", {"t shirt", "double decker bus"}),
        ("A stuffed rabbit.", {"stuffed rabbit"}),
        ("A dog bed, a car window and a horse-drawn carriage.", {"bed", "window", "carriage"}),
        ("The dog's bowl.", {"dog", "bowl"}),
    ],
)
def test_a_compound_is_one_thing(caption: str, objects: set[str]) -> None:
    assert named(caption) == objects


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("An orange cat next to an orange.", {"cat", "orange"}),
        ("The wall is orange.", set()),
        ("People watch a game.", {"person"}),
        ("A boy wears a watch.", {"boy", "watch"}),
        ("A man can open the can.", {"man", "can"}),
        ("A light brown bag in the light of the sun.", {"bag"}),
        ("Bats fly out of a cave.", {"bat (animal)"}),
        ("A batter swings his bat.", {"batter", "baseball bat"}),
        ("A mouse beside a keyboard.", {"computer mouse", "keyboard"}),
        ("A mouse in the grass.", {"mouse"}),
        ("A woman with glasses.", {"woman", "eyeglasses"}),
        ("Two glasses of wine.", {"glass", "wine"}),
        ("A lamp stands on a stand.", {"lamp", "stand"}),
        ("A couple of cows. A group of people.", {"cow", "person"}),
        ("A man looks at the camera.", {"man"}),
        ("A woman holds a camera.", {"woman", "camera"}),
        ("The picture shows a horse.", {"horse"}),
        ("A picture hangs on the wall.", {"picture"}),
        ("A fish in its mouth.", {"fish"}),
        ("A bird with a long beak.", {"bird", "beak"}),
    ],
)
def test_a_word_with_two_meanings_is_read_by_its_place(caption: str, objects: set[str]) -> None:
    assert named(caption) == objects


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("There is no dog, but there is a cat.", {"cat"}),
        ("No cars, trucks or people are visible near the bench.", {"bench"}),
        ("There isn't any cat or dog, only a chair.", {"chair"}),
        ("Neither a cat nor a dog.", set()),
        ("A man without a hat, and a fence.", {"man", "fence"}),
        ("He is not wearing a hat or gloves.", set()),
        ("There are no people walking near the bench.", {"bench"}),
        ("The cat and the dog are not visible.", set()),
        ("A dog cannot be seen. A horse can be seen.", {"horse"}),
        ("There is no sign of a bird.", set()),
        ("Nothing but a lamp.", {"lamp"}),
        ("A cake shaped like a dog.", {"cake"}),
        ("There is no dog on the left. A dog is on the right.", {"dog"}),
    ],
)
def test_what_is_denied_does_not_count(caption: str, objects: set[str]) -> None:
    assert named(caption) == objects


def test_what_the_paper_leaves_out_does_not_count() -> None:
    caption = "A clear sky over a road in good weather; the overall scene conveys a sense of tranquility."
    assert named(caption) == set()
    assert named(" ".join(f"A {place}." for place in BACKGROUNDS)) == set()


@pytest.mark.parametrize("caption", ["", "   ", "...", "a a a a a", "The image is a picture of a picture of a"])
def test_a_caption_of_nothing_names_nothing(caption: str) -> None:
    assert named(caption) == set()


def test_the_bundled_scenes_are_known() -> None:
    assert named(" ".join(f"A {kind}." for kind in KINDS)) == set(KINDS)
    assert named(" ".join(f"A {surface}." for surface in SURFACES)) == {*SURFACES, "couch"} - {"sofa"}


def test_one_thing_under_two_names_is_one() -> None:
    (cyclist, *_) = JUDGE.objects("A person rides a bicycle. The cyclist is tired.")
    assert [mention.text for mention in cyclist.mentions] == ["person", "cyclist"]
    assert named("A man and a cyclist.") == {"man", "cyclist"}
    assert named("A woman talks. The man listens.") == {"woman", "man"}


def test_a_noun_that_no_list_has_counts_where_the_vocabulary_is_open() -> None:
    caption = "A brass xylophone stands beside two theremins."
    assert named(caption) == {"xylophone", "theremin"}
    assert named(caption, ObjectListJudge(open_vocabulary=False)) == set()


def test_judges_that_judge_otherwise_have_other_fingerprints() -> None:
    assert ObjectListJudge().fingerprint() == JUDGE.fingerprint()
    assert ObjectListJudge(open_vocabulary=False).fingerprint() != JUDGE.fingerprint()
