"""Figure 7 of constructed details: windows, figures by hand, what became of the rest, claims held to intervals."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.experiments.described_scenes import demo
from vlm_lens.data import read_scenes
from vlm_lens.errors import InputError
from vlm_lens.experiments.localisation import Localisation
from vlm_lens.experiments.shown_pictures import picture_row

FACTS = {"n_layers": 8, "judge": "somebody", "segmenter": "something"}
OPTIONS = Localisation.Options(depth=8, width=2, map_layers=(4, 5))
LIKE_PAPER = (0.2, 0.2, 0.2, 0.2, 0.8, 0.8, 0.2, 0.2)


def rows(accuracy: tuple[float, ...] = LIKE_PAPER, others: float = 0.3, n: int = 20) -> dict[str, pd.DataFrame]:
    """One detail a picture, and a second one in the first picture, for which no mask was found."""
    cells, details, described = [], [], []
    for number in range(n):
        example = {"example": str(number)}
        described.append({**example, "text": "", "n_named": 3, "n_details": 1 + (number == 0)})
        details.append({**example, "detail": "cat", "status": "kept"})
        cells += [
            {**example, "detail": "cat", "layer": layer, "is_right": right, "others": others, "chance": 0.1}
            for layer, right in enumerate(accuracy)
        ]
    details.append({"example": "0", "detail": "rug", "status": "no mask"})
    frames = {"accuracy": cells, "details": details, "descriptions": described}
    return {name: pd.DataFrame(found) for name, found in frames.items()}


def summed(*given: Any) -> Any:
    return Localisation().summarised(rows(*given), OPTIONS, FACTS)


def test_accuracy_is_averaged_over_windows_beside_other_words_and_chance() -> None:
    table = summed((0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.5, 0.0)).tables["accuracy"]
    assert list(table.layout.index) == ["0 to 1", "2 to 3", "4 to 5", "6 to 7"]
    assert list(table.layout.columns) == ["words that name it", "all other words", "chance"]
    values = table.tidy.set_index(["of", "layers"])["value"]
    assert values["words that name it"].tolist() == pytest.approx([0.5, 0.0, 1.0, 0.25])
    assert values["chance"].tolist() == pytest.approx([0.1] * 4)
    assert "20 details of 20 pictures" in table.caption and set(table.tidy["n"]) == {20}


def test_details_weigh_alike_and_pictures_are_drawn_whole() -> None:
    """Two details of one picture are right, one of another is not: two of three."""
    given = rows(n=2)
    cells = given["accuracy"]
    first, second = cells[cells["example"] == "0"].assign(is_right=1.0), cells[cells["example"] == "1"]
    given["accuracy"] = pd.concat([first, first.assign(detail="dog"), second.assign(is_right=0.0)])
    tidy = Localisation().summarised(given, OPTIONS, FACTS).tables["accuracy"].tidy
    row = tidy[tidy["of"] == "words that name it"].iloc[0]
    assert row["value"] == pytest.approx(2 / 3) and row["n"] == 2


def test_what_became_of_the_objects_is_counted() -> None:
    layout = summed().tables["details"].layout
    assert layout["N"].to_dict() == {
        "pictures": 20, "objects named": 60, "of these lost under img -> gen": 21, "left out: no mask": 1, "kept": 20,
    }  # fmt: skip


def test_what_the_paper_found_agrees_with_the_paper() -> None:
    assert [one.agrees for one in summed().findings] == [True] * 3


@pytest.mark.parametrize(
    ("given", "agrees"),
    [
        (((0.1,) * 8, 0.0), [False, True, False]),  # no better than chance anywhere
        ((LIKE_PAPER, 0.9), [True, False, True]),  # other words look there more
        (((0.9,) * 8,), [True, True, False]),  # and so in every layer
        (((0.1,) * 4 + (0.8,) * 4,), [True, True, False]),  # late layers too
    ],
)
def test_what_the_paper_did_not_find_does_not_agree(given: Any, agrees: list[bool]) -> None:
    assert [one.agrees for one in summed(*given).findings] == agrees


def test_without_any_detail_it_says_where_they_went() -> None:
    given = rows(n=1)
    given["details"] = given["details"][given["details"]["status"] != "kept"]
    del given["accuracy"]
    with pytest.raises(InputError, match=r"lost under img -> gen: 2; left out: no mask: 1; kept: 0"):
        Localisation().summarised(given, OPTIONS, FACTS)


def test_maps_carry_mask_and_peak() -> None:
    scene = read_scenes(1)[0]
    layout = demo().prepare(scene.image, "?").layout
    cells = [
        {"example": "0", "detail": "cat", "patch_row": row, "patch_col": column,
         "attention": float((row, column) == (1, 2)), "is_object": column == 0}
        for row, column in np.ndindex(2, 3)
    ]  # fmt: skip
    picture = {**picture_row(scene, layout), "example": "0", "n_rows": 2, "n_cols": 3}
    given = {**rows(), "maps": pd.DataFrame(cells), "pictures": pd.DataFrame([picture])}
    figure = Localisation().summarised(given, OPTIONS, FACTS).figures["maps"]()
    assert [one.text for one in figure.layout.annotations] == ["0", "cat"]
    marks = [trace for trace in figure.data if trace.type == "scatter"]
    assert {(mark.x[0], mark.y[0]) for mark in marks} == {(2, 1)}
    assert {one.xref for one in figure.layout.shapes} == {"x2"}
    assert {one.path for one in figure.layout.shapes} == {"M -0.5,-0.5 L 0.5,-0.5 M -0.5,1.5 L 0.5,1.5 "
                                                          "M -0.5,-0.5 L -0.5,1.5 M 0.5,-0.5 L 0.5,1.5"}  # fmt: skip
