"""The words of labels: every label that the papers, COCO and the scenes use has some, and no two share one."""

import json
from collections import Counter
from pathlib import Path

import pytest

from vlm_lens.data.labels import LABEL_SETS, VOCABULARIES, surface_forms
from vlm_lens.data.panoptic_parts import CLASSES
from vlm_lens.demo.scenes.vocabulary import KINDS, PARTS, SURFACES, merged_part
from vlm_lens.errors import InputError


def test_the_papers_four_forms_of_leg_come_without_capitals() -> None:
    """Footnote 3 and section 3: "leg", "legs", "_leg", "_legs"."""
    forms = surface_forms("leg", capitals=False)
    assert sorted(forms) == sorted(["leg", "legs", " leg", " legs"])
    assert set(surface_forms("leg")) == {*forms, "Leg", "Legs", " Leg", " Legs"}


def test_the_label_sets_are_those_of_their_sources() -> None:
    with_table = {name: found for name, found in CLASSES.items() if found.table_1}
    assert set(LABEL_SETS["classes"]) == set(with_table)
    assert set(LABEL_SETS["parts"]) == {part for found in with_table.values() for part in found.table_1 or ()}
    parts = {merged_part(part) for own in PARTS.values() for part in own}
    assert set(LABEL_SETS["scenes"]) == {*KINDS, *SURFACES, *parts}
    assert len(LABEL_SETS["coco"]) == len(set(LABEL_SETS["coco"])) == 80


@pytest.mark.parametrize("name", LABEL_SETS)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_no_two_labels_of_a_set_share_a_form(name: str, vocabulary: str) -> None:
    """Otherwise one token's probability would count for two labels."""
    counts = Counter(form for label in LABEL_SETS[name] for form in surface_forms(label, vocabulary))
    assert counts.most_common(1)[0][1] == 1


@pytest.mark.parametrize("name", LABEL_SETS)
def test_a_label_is_its_own_first_form_with_a_space(name: str) -> None:
    for label in LABEL_SETS[name]:
        assert surface_forms(label)[0] == f" {label}"
        assert surface_forms(label, "clip")[0] == label


def test_irregular_plurals_and_spellings_are_among_the_forms() -> None:
    for label, form in (("foot", " feet"), ("hoof", "hooves"), ("person", " people"), ("knife", "knives")):
        assert form in surface_forms(label)
    assert {" tv", " TV", " television"} <= set(surface_forms("tv"))
    assert not any("sheeps" in form for form in surface_forms("sheep"))


def test_a_label_of_ones_own_has_itself_and_its_plural() -> None:
    assert surface_forms("fox", capitals=False) == (" fox", "fox", " foxes", "foxes")


def test_an_unknown_vocabulary_and_an_empty_label_are_refused() -> None:
    with pytest.raises(InputError, match="one of llama, llama3, qwen, clip, demo, got 'gpt'"):
        surface_forms("leg", "gpt")
    with pytest.raises(InputError, match="a word, got ' '"):
        surface_forms(" ")


def test_coco_has_the_names_of_its_own_file() -> None:
    """Where real annotations are at hand: the categories that they name."""
    path = Path(__file__).resolve().parents[4] / "shared" / "real" / "coco" / "instances.json"
    if not path.is_file():
        pytest.skip("no COCO annotations at hand")
    names = [category["name"] for category in json.loads(path.read_text())["categories"]]
    assert set(names) <= set(LABEL_SETS["coco"])
