"""Filters on a dataset that is small enough to filter by hand, and the papers' selections against a plain loop."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_lens.data import Annotation, Dataset, Example, Question, filters, read_scenes, selections
from vlm_lens.data.target import targets
from vlm_lens.errors import InputError


def found(category: str, area: float, is_crowd: bool = False) -> Annotation:
    return Annotation(category, float(area), lambda: np.ones((10, 10), dtype=bool), is_crowd=is_crowd)


def picture(name: str, *annotations: Annotation, tasks: str = "", size: tuple[int, int] | None = (10, 10)) -> Example:
    questions = tuple(Question(f"{task}?", "Yes", task) for task in tasks.split())
    return Example(name, lambda: Image.new("RGB", (10, 10)), size, annotations, questions=questions)


DATA = Dataset(
    "by hand",
    "0" * 16,
    (
        picture("1", found("cat", 20), found("dog", 50), tasks="existence color"),
        picture("2", found("cat", 19), found("cat", 30), found("dog", 7), tasks="existence"),
        picture("3", found("cat", 40, is_crowd=True), found("dog", 50)),
        picture("4"),
        picture("5", found("cup", 1), found("cup", 1), found("dog", 60), found("cat", 21), tasks="color"),
        picture("6", found("cat", 80), size=None),
    ),
)


def told(data: Dataset) -> dict[str, list[tuple[str, float]]]:
    return {one.id: [(target.category, target.area) for target in one.targets] for one in data}


def last(data: Dataset) -> tuple[object, ...]:
    return tuple(asdict(data.steps[-1]).values())


def test_every_annotation_is_a_target_until_a_filter_chose() -> None:
    assert all(one.targets == one.annotations for one in DATA)
    assert DATA.n_targets == 12


def test_at_most_annotations_counts_all_of_a_picture() -> None:
    left = filters.at_most_annotations(DATA, 2)
    assert list(told(left)) == ["1", "3", "4", "6"]
    assert last(left) == ("at most 2 annotations", 6, 4, None, None)


def test_one_instance_keeps_what_stands_alone_and_is_no_crowd() -> None:
    left = filters.one_instance(DATA)
    assert told(left) == {
        "1": [("cat", 20), ("dog", 50)],
        "2": [("dog", 7)],
        "3": [("dog", 50)],
        "5": [("dog", 60), ("cat", 21)],
        "6": [("cat", 80)],
    }
    assert last(left) == ("one instance of its category", 6, 5, 12, 7)


def test_an_object_that_is_no_target_still_counts_as_an_instance() -> None:
    """The first filter leaves one cat of picture 2 a target; there are two all the same."""
    left = filters.one_instance(filters.area_between(DATA, 25, 35))
    assert len(left) == 0


def test_area_between_is_strict_on_both_sides() -> None:
    assert told(filters.area_between(DATA, 20, 50)) == {"2": [("cat", 30)], "3": [("cat", 40)], "5": [("cat", 21)]}


def test_covers_at_least_includes_the_bound_and_reads_an_unknown_size() -> None:
    left = filters.covers_at_least(DATA, 0.5)
    assert told(left) == {"1": [("dog", 50)], "3": [("dog", 50)], "5": [("dog", 60)], "6": [("cat", 80)]}


def test_of_categories_keeps_pictures_with_one_of_them() -> None:
    assert told(filters.of_categories(DATA, ("cup",))) == {"5": [("cup", 1), ("cup", 1)]}


def test_chosen_ids_keeps_the_order_of_the_dataset() -> None:
    left = filters.chosen_ids(DATA, ("6", "2", "99"))
    assert [one.id for one in left] == ["2", "6"]
    assert last(left)[:3] == ("among 3 chosen ids", 6, 2)


def test_with_questions_keeps_the_questions_of_the_task() -> None:
    assert [one.id for one in filters.with_questions(DATA)] == ["1", "2", "5"]
    left = filters.with_questions(DATA, "color")
    assert [(one.id, [question.text for question in one.questions]) for one in left] == [
        ("1", ["color?"]), ("5", ["color?"]),
    ]  # fmt: skip


def test_at_most_per_category_takes_the_first_pictures_of_each() -> None:
    left = filters.at_most_per_category(filters.of_categories(DATA, ("cat", "dog")), 2)
    assert told(left) == {
        "1": [("cat", 20), ("dog", 50)],
        "2": [("cat", 19), ("cat", 30), ("dog", 7)],
    }


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_at_most_per_category_keeps_as_many_as_there_may_be(seed: int | None) -> None:
    left = filters.at_most_per_category(DATA, 3, seed)
    pictures = Counter(category for one in left for category in {target.category for target in one.targets})
    assert pictures == {"cat": 3, "dog": 3, "cup": 1}


def test_a_draw_is_its_seeds_and_knows_nothing_of_other_categories() -> None:
    data = read_scenes(60)

    def drawn(data: Dataset, seed: int) -> list[str]:
        left = filters.at_most_per_category(data, 5, seed)
        return [one.id for one in left if any(target.category == "cat" for target in one.targets)]

    assert drawn(data, 0) == drawn(data, 0) == drawn(filters.of_categories(data, ("cat",)), 0)
    assert len(drawn(data, 0)) == 5
    assert len({tuple(drawn(data, seed)) for seed in range(5)}) > 1


def test_targets_are_one_after_another_with_ids_that_filters_do_not_change() -> None:
    alone = targets(filters.one_instance(DATA))
    assert [one.id for one in alone] == ["1/0", "1/1", "2/2", "3/1", "5/2", "5/3", "6/0"]
    assert {one.id for one in targets(filters.area_between(filters.one_instance(DATA), 20, 70))} == {
        "1/1", "3/1", "5/2", "5/3",
    }  # fmt: skip
    assert all(one.annotation in one.example.annotations for one in alone)


def test_a_filter_leaves_what_it_filters_as_it_was() -> None:
    filters.one_instance(DATA)
    assert DATA.steps == () and all(one.chosen is None for one in DATA)


@pytest.mark.parametrize("select", [selections.small_objects_alone, selections.large_objects, selections.listed])
def test_an_empty_selection_says_what_each_filter_left(select: Callable[[Dataset], Dataset]) -> None:
    with pytest.raises(InputError, match=r"expected at least one example, got none \(.*: \d -> 0\)"):
        select(DATA).some()


def plainly_small(example: Example, annotation: Annotation) -> bool:
    same = sum(one.category == annotation.category for one in example.annotations)
    return len(example.annotations) < 4 and same == 1 and 300 < annotation.area < 900


def test_small_objects_alone_are_those_of_a_plain_loop() -> None:
    data = read_scenes(80)
    left = selections.small_objects_alone(data, low=300, high=900)
    expected = [
        f"{one.id}/{number}"
        for one in data
        for number, annotation in enumerate(one.annotations)
        if plainly_small(one, annotation)
    ]
    assert [one.id for one in targets(left)] == expected
    assert 5 < len(expected) < data.n_targets / 2
    assert [step.name for step in left.steps] == [
        "at most 3 annotations", "one instance of its category", "300 < area < 900",
    ]  # fmt: skip
    for step, following in zip(left.steps, left.steps[1:], strict=False):
        assert step.n_after == following.n_before


def test_objects_with_parts_are_those_of_a_plain_loop() -> None:
    data = read_scenes(80)
    left = selections.objects_with_parts(data, share=0.04, n_per_category=None)
    expected = [
        f"{one.id}/{number}"
        for one in data
        for number, annotation in enumerate(one.annotations)
        if annotation.category in "bird cat cow dog horse person sheep".split()
        and sum(other.category == annotation.category for other in one.annotations) == 1
        and annotation.mask.mean() >= 0.04
    ]
    assert [one.id for one in targets(left)] == expected
    assert len(expected) > 10
    few = selections.objects_with_parts(data, share=0.04, n_per_category=2)
    assert max(Counter(one.annotation.category for one in targets(few)).values()) == 2


def test_large_objects_may_be_several_and_are_no_crowd() -> None:
    assert told(selections.large_objects(DATA, 25, 70)) == {
        "1": [("dog", 50)], "2": [("cat", 30)], "3": [("dog", 50)], "5": [("dog", 60)],
    }  # fmt: skip


def test_the_list_of_the_third_paper_has_its_81_ids() -> None:
    ids = selections.listed_ids()
    assert len(ids) == len(set(ids)) == 81
    assert (ids[0], ids[1], ids[-2], ids[-1]) == ("480122", "256941", "527220", "96549")
    data = Dataset("by hand", "0" * 16, tuple(picture(name) for name in ("5", "5477", "96549", "123")))
    assert [one.id for one in selections.listed(data)] == ["5477", "96549"]


def test_the_ids_are_those_that_the_paper_prints() -> None:
    text = Path(__file__).resolve().parents[3] / "shared" / "papers" / "whats_in_the_image.txt"
    if not text.is_file():
        pytest.skip("the paper's text is not at hand")
    appendix = text.read_text(encoding="utf-8").partition("Appendix E Images used")[2]
    lines = [line.split() for line in appendix.splitlines()]
    printed = [word for line in lines if line and all(word.isdecimal() for word in line) for word in line]
    assert list(selections.listed_ids()) == printed


def test_a_list_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="one of whats_in_the_image, got 'other'"):
        selections.listed_ids("other")
