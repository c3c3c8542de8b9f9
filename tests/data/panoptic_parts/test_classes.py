"""The table of parts: against the dataset's published totals and groups, the paper's table, and the bundled writer."""

import pytest

from vlm_lens.data.panoptic_parts import CLASSES
from vlm_lens.demo.scenes.numbers import LAST_THING, PART_IDS, SEMANTIC_IDS
from vlm_lens.demo.scenes.vocabulary import merged_part
from vlm_lens.errors import InputError

TABLE_1 = {
    "bird": "Beak, Foot, Head, Leg, Neck, Tail, Torso, Wing",
    "cat": "Ear, Eye, Head, Leg, Neck, Nose, Paw, Tail, Torso",
    "cow": "Ear, Head, Horn, Leg, Muzzle, Neck, Tail, Torso",
    "dog": "Ear, Eye, Head, Leg, Muzzle, Neck, Nose, Paw, Tail, Torso",
    "horse": "Ear, Head, Hoof, Leg, Muzzle, Neck, Tail, Torso",
    "person": "Arm, Ear, Eye, Foot, Hair, Hand, Head, Leg, Mouth, Neck, Nose, Torso",
    "sheep": "Ear, Head, Horn, Leg, Muzzle, Neck, Tail, Torso",
}

# Groups of the dataset's own 58-class evaluation (its ppp_parts_58 table): class, its head, its legs, its tail.
HEAD_LEGS_TAIL = {
    "bird": (range(1, 5), range(9, 13), [13]),
    "cat": (range(1, 7), range(9, 17), [17]),
    "cow": (range(1, 9), range(11, 19), [19]),
    "dog": ([*range(1, 7), 18], range(9, 17), [17]),
    "horse": (range(1, 7), [*range(7, 11), *range(13, 21)], [21]),
    "sheep": (range(1, 9), range(11, 19), [19]),
}
ON_THE_HEAD = {"head", "eye", "ear", "beak", "nose", "muzzle", "horn"}
OF_A_LEG = {"leg", "foot", "paw", "hoof"}


def test_the_dataset_has_193_parts_in_16_of_20_classes() -> None:
    assert [found.sid for found in CLASSES.values()] == list(range(1, 21))
    assert sum(len(found.parts) for found in CLASSES.values()) == 193
    assert sum(bool(found.parts) for found in CLASSES.values()) == 16


@pytest.mark.parametrize("name", CLASSES)
def test_every_part_id_has_one_name_and_one_merged_name(name: str) -> None:
    raw = sorted(one for ids in CLASSES[name].parts.values() for one in ids)
    merged = sorted(one for ids in CLASSES[name].merged.values() for one in ids)
    assert raw == merged
    assert raw == list(range(1, len(raw) + 1)) or name in ("bus", "car")


@pytest.mark.parametrize("name", CLASSES)
def test_merged_parts_are_whole_parts_that_share_their_last_word(name: str) -> None:
    for merged, ids in CLASSES[name].merged.items():
        inside = [part for part, own in CLASSES[name].parts.items() if set(own) <= set(ids)]
        assert {one for part in inside for one in CLASSES[name].parts[part]} == set(ids)
        assert {part.split()[-1] for part in inside} == {merged.split()[-1]}


@pytest.mark.parametrize("name", HEAD_LEGS_TAIL)
def test_heads_legs_and_tails_are_those_of_the_datasets_evaluation(name: str) -> None:
    groups: dict[str, set[int]] = {"head": set(), "leg": set(), "tail": set()}
    for part, ids in CLASSES[name].merged.items():
        group = "head" if part in ON_THE_HEAD else "leg" if part in OF_A_LEG else part
        groups.setdefault(group, set()).update(ids)
    assert [groups["head"], groups["leg"], groups["tail"]] == [set(ids) for ids in HEAD_LEGS_TAIL[name]]


@pytest.mark.parametrize("name", TABLE_1)
def test_parts_are_exactly_those_of_table_1(name: str) -> None:
    expected = [part.lower() for part in TABLE_1[name].split(", ")]
    assert list(CLASSES[name].part_ids("paper")) == expected
    assert all(CLASSES[name].merged[part] == CLASSES[name].part_ids("paper")[part] for part in expected)


def test_the_paper_drops_eyebrows_and_the_eyes_of_four_classes_and_nothing_else() -> None:
    dropped = {
        (name, part) for name in TABLE_1 for part in set(CLASSES[name].merged) - set(CLASSES[name].part_ids("paper"))
    }
    assert dropped == {("person", "eyebrow"), ("bird", "eye"), ("cow", "eye"), ("horse", "eye"), ("sheep", "eye")}


def test_a_class_outside_of_table_1_has_its_merged_parts() -> None:
    assert CLASSES["car"].part_ids("paper") == CLASSES["car"].merged
    assert CLASSES["boat"].part_ids("paper") == {}


def test_the_bundled_writer_uses_the_same_numbers() -> None:
    """It was written from the dataset's table too, by another hand; only a cat has no muzzle there: it is head."""
    for kind, number in SEMANTIC_IDS.items():
        if number <= LAST_THING:
            assert [name for name, found in CLASSES.items() if found.sid == number] == [kind]
    for kind, parts in PART_IDS.items():
        for part, ids in parts.items():
            merged = "head" if (kind, part) == ("cat", "muzzle") else merged_part(part)
            assert set(ids) <= set(CLASSES[kind].merged[merged]), (kind, part)


def test_another_way_of_naming_is_refused() -> None:
    with pytest.raises(InputError, match="paper, merged or raw"):
        CLASSES["cat"].part_ids("coarse")
