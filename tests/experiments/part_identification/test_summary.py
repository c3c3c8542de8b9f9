"""Tables and findings of rows that were made up, against figures worked out by hand."""

from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vlm_lens.errors import InputError
from vlm_lens.experiments import run_experiment
from vlm_lens.experiments.object_parts.knockouts import DECODER, ENCODER, FULL, NONE, SETTINGS
from vlm_lens.experiments.part_identification import PartIdentification
from vlm_lens.experiments.part_identification.frames import size_bins
from vlm_lens.experiments.summary import Summary

LAST = ("last 2", "last 3", "last 4")
VALUES = {NONE: 0.9, ENCODER: 0.8, DECODER: 0.88, FULL: 0.5, **dict(zip(LAST, (0.9, 0.81, 0.8), strict=True))}
FACTS = {
    "model": "made up", "n_layers": 2, "d_vocab": 100, "n_vision_layers": 6, "n_vision_layers_read": 5,
    "last": {"last 2": [3, 4], "last 3": [2, 4], "last 4": [1, 4]}, "steps": ["a filter: 9 -> 4 objects."],
}  # fmt: skip
PICTURES = {"1": "cat", "2": "cat", "3": "dog", "4": "dog"}


def made_up(values: dict[str, float] = VALUES, jitter: float = 0.01) -> dict[str, pd.DataFrame]:
    """Two parts in each of four pictures; at layer 1 all scores are 0.3."""
    regions, scores = [], []
    for (place, (example, category)), part in product(enumerate(PICTURES.items()), ("eye", "leg")):
        regions.append({"example": example, "class": category, "part": part, "n_patches": 1 + (part == "leg"),
                        "share": 0.01 * (1 + place // 2) * (1 + 3 * (part == "leg")), "aliases": 1, "pieces": "",
                        "chance": 0.1,
                        "object_aliases": 1, "object_pieces": "'d' 'og'" if category == "dog" else "",
                        "object_chance": 0.1})  # fmt: skip
        for setting, layer in product(values, (1, 2)):
            own = 0.3 if layer == 1 else values[setting] + (jitter if place % 2 else -jitter)
            scores.append({"example": example, "class": category, "part": part, "setting": setting, "layer": layer,
                           "score": own, "null": 0.4, "object_score": own, "object_null": 0.4})  # fmt: skip
    named = {"example": "5", "class": "cat", "caption": "a cat", "is_named_while_hidden": True}
    targets = [{**named, "example": one, "is_named_while_hidden": False} for one in PICTURES] + [named]
    return {"regions": pd.DataFrame(regions), "scores": pd.DataFrame(scores), "targets": pd.DataFrame(targets)}


def summary(values: dict[str, float] = VALUES, **options: Any) -> Summary:
    experiment = PartIdentification()
    return experiment.summarised(made_up(values), experiment.Options().but(**options), FACTS)


def at(tidy: pd.DataFrame, **keys: Any) -> pd.Series:
    for name, value in keys.items():
        tidy = tidy[tidy[name] == value]
    assert len(tidy) == 1
    return tidy.iloc[0]


def test_tables_have_the_papers_rows_and_columns() -> None:
    found = summary().tables
    assert list(found["part and object"].layout.index) == ["cat", "dog", "all"]
    assert list(found["part and object"].layout)[:2] == ["part", "object"]
    assert list(found["settings"].layout) == list(SETTINGS)
    assert list(found["last layers"].layout) == [NONE, *LAST, ENCODER, FULL]


def test_means_are_over_regions_and_intervals_over_pictures() -> None:
    found = at(summary().tables["settings"].tidy, setting=ENCODER, **{"class": "all"})
    assert found["value"] == pytest.approx(0.8) and found["n"] == 4
    assert 0.79 <= found["low"] < 0.8 < found["high"] <= 0.81


def test_differences_are_paired_so_that_common_noise_goes() -> None:
    found = at(summary().tables["change"].tidy, setting=FULL, **{"class": "all"})
    assert (found["value"], found["low"], found["high"]) == pytest.approx((-0.4, -0.4, -0.4))


@pytest.mark.parametrize(("layer", "value"), [("last", 0.9), ("1", 0.3), ("best", 0.9)])
def test_tables_are_of_the_layer_that_was_asked_for(layer: str, value: float) -> None:
    assert at(summary(layer=layer).tables["part and object"].tidy, what="part", **{"class": "all"})[
        "value"
    ] == pytest.approx(value)


def test_parts_of_which_none_has_a_readable_label_are_told_so() -> None:
    rows = made_up()
    rows["scores"]["score"] = float("nan")  # rows for the object alone
    with pytest.raises(InputError, match="none readable"):
        PartIdentification().summarised(rows, PartIdentification.Options(), FACTS)


@pytest.mark.parametrize(
    ("name", "option"), [("part-identification", "layer"), ("part-identification-clip", "from_layer")]
)
def test_a_layer_for_tables_that_is_not_there_is_refused_before_anything_runs(
    name: str, option: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"Option '{option}': .*got 'beest'"):
        run_experiment(name, data="scenes,n=8", out=tmp_path / "run", least_share=0.02, **{option: "beest"})
    assert not (tmp_path / "run").exists()


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="0 to 2"):
        summary(layer="3")


def test_the_papers_findings_are_found_where_they_were_put() -> None:
    agrees = [one.agrees for one in summary().findings]
    assert agrees == [True, True, True, True, True, True, True, True]


def test_findings_are_denied_where_the_opposite_was_put() -> None:
    values = {NONE: 0.45, ENCODER: 0.1, DECODER: 0.1, FULL: 0.1, **dict.fromkeys(LAST, 0.2)}
    found = [one.agrees for one in summary(values).findings]
    assert found == [False, True, True, False, False, False, False, True]


def test_where_context_does_not_matter_nothing_is_said_of_who_makes_up_for_it() -> None:
    found = summary(dict.fromkeys(VALUES, 0.9)).findings
    assert [one.agrees for one in found][2:5] == [False, None, None]


def test_where_parts_are_not_identified_nothing_can_be_made_up_for() -> None:
    rows = made_up()
    rows["scores"]["null"] = 0.95
    found = PartIdentification().summarised(rows, PartIdentification.Options(), FACTS).findings
    assert [one.agrees for one in found] == [False, True, True, None, None, None, None, True]
    assert "no higher than elsewhere" in found[4].told


def test_wide_intervals_do_not_show_that_sizes_make_no_difference() -> None:
    rows = made_up(jitter=0.3)
    found = PartIdentification().summarised(rows, PartIdentification.Options(), FACTS).findings[-1]
    assert "size of a part" in found.claim and found.agrees is None
    scores = rows["scores"]
    scores["score"] = 0.5 + 0.4 * (scores["part"] == "leg")
    found = PartIdentification().summarised(rows, PartIdentification.Options(), FACTS).findings[-1]
    assert found.agrees is False


def test_of_one_picture_nothing_is_claimed() -> None:
    rows = {name: table[table["example"] == "1"] for name, table in made_up().items()}
    found = PartIdentification().summarised(rows, PartIdentification.Options(), FACTS).findings
    assert {one.agrees for one in found} == {None}


def test_notes_count_what_was_left_out_and_name_labels_in_pieces() -> None:
    notes = " ".join(summary().notes)
    assert "1 of 5 objects, left out" in notes and "9 -> 4 objects" in notes
    assert "Label 'dog' is no whole token ('d' 'og'): left out." in notes


def test_nothing_read_is_refused_with_what_took_it() -> None:
    rows = made_up()
    rows["targets"]["is_named_while_hidden"] = True
    with pytest.raises(InputError, match="5 objects, 5 named by a caption"):
        PartIdentification().summarised({"targets": rows["targets"]}, PartIdentification.Options(), FACTS)


def test_quartiles_hold_as_many_regions_each_and_equal_bins_do_not() -> None:
    share = pd.Series([0.01, 0.011, 0.012, 0.013, 0.02, 0.03, 0.5, 1.0])
    quartiles, equal = (size_bins(share, one)[0] for one in ("quartiles", "equal"))
    assert quartiles.value_counts().tolist() == [2, 2, 2, 2]
    assert equal.tolist() == [0, 0, 0, 0, 0, 0, 3, 3]


def test_pictures_may_weigh_alike() -> None:
    rows = made_up(jitter=0)
    rows["scores"].loc[(rows["scores"]["example"] == "1") & (rows["scores"]["part"] == "eye"), "score"] = 0.1
    rows["scores"] = rows["scores"][~((rows["scores"]["example"] == "2") & (rows["scores"]["part"] == "eye"))]
    values = {
        weighs: at(
            PartIdentification()
            .summarised(rows, PartIdentification.Options().but(weighs=weighs), FACTS)
            .tables["settings"].tidy,
            setting=NONE, **{"class": "cat"},
        )["value"]
        for weighs in ("regions", "pictures")
    }  # fmt: skip
    assert values == {"regions": pytest.approx((0.1 + 0.9 + 0.9) / 3), "pictures": pytest.approx((0.5 + 0.9) / 2)}


def test_every_figure_is_drawn() -> None:
    found = summary(cases="cat eye,dog leg,bird leg")
    assert set(found.figures) == {
        "part and object", "progress", "settings", "settings by class", "sizes", "last layers", "last layers by class"
    }  # fmt: skip
    drawn = {name: draw() for name, draw in found.figures.items()}
    titles = {name: [one.text for one in figure.layout.annotations] for name, figure in drawn.items()}
    assert titles["settings"] == ["cat eye", "dog leg", "all"]
    assert titles["settings by class"] == ["cat", "dog", "all"]
    assert [trace.name for trace in drawn["last layers"].data if trace.showlegend] == [
        NONE, *LAST, ENCODER, FULL, "elsewhere in the picture"
    ]  # fmt: skip
