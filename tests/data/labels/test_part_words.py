"""Other words for parts and objects: the bundled file, and one of a user's own."""

from pathlib import Path

import pytest

from vlm_lens.data.labels import LABEL_SETS, read_part_words
from vlm_lens.errors import InputError


def test_every_part_and_class_of_the_paper_has_an_entry_and_no_other() -> None:
    words = read_part_words()
    assert set(words.parts) == set(LABEL_SETS["parts"])
    assert set(words.objects) == set(LABEL_SETS["classes"])


def test_no_word_is_listed_twice_for_a_label_or_is_the_label() -> None:
    words = read_part_words()
    for label, found in (*words.parts.items(), *words.objects.items()):
        listed = (*found.synonyms, *found.hyponyms)
        assert len(set(listed)) == len(listed) and label not in listed


def test_an_object_is_known_by_one_name_only() -> None:
    """Two objects that shared a word would both count its mentions; a calf is a young cow, and the back of a leg."""
    words = read_part_words()
    listed = [word for name in words.objects for word in words.of_object(name)]
    assert len(set(listed)) == len(listed)


def test_words_begin_with_the_label_and_a_label_without_entry_stands_alone() -> None:
    words = read_part_words()
    assert words.of_part("muzzle") == ("muzzle", "snout")
    assert words.of_object("dog")[0] == "dog" and "puppy" in words.of_object("dog")
    assert words.of_part("wheel") == ("wheel",)


def test_a_file_of_ones_own_is_taken_and_a_wrong_one_named(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text('{"parts": {"leg": {"hyponyms": ["shank"]}}, "objects": {}}')
    assert read_part_words(path).of_part("leg") == ("leg", "shank")
    path.write_text('{"parts": {"leg": {"hyponyms": "shank"}}, "objects": {}}')
    with pytest.raises(InputError, match=r"words\.json.*parts\.leg\.hyponyms"):
        read_part_words(path)
    path.write_text('{"parts": ')
    with pytest.raises(InputError, match=r"words\.json.*expected JSON"):
        read_part_words(path)
    with pytest.raises(InputError, match="Words of parts"):
        read_part_words(tmp_path / "absent.json")
