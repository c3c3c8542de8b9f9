"""Where the words of a description look: equal to a plain loop over written-out attention."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.experiments.described_scenes import context_of, demo, plain_demo
from vlm_lens.data import read_scenes
from vlm_lens.errors import InputError
from vlm_lens.experiments.descriptions import describing
from vlm_lens.experiments.localisation import Localisation
from vlm_lens.experiments.localisation.looking import CUT_AWAY, KEPT, NO_MASK, NOT_RUN
from vlm_lens.metrics.judges import judge_named

N_LAYERS, SIDE = 6, 12


def rows_of(n: int = 1, preset: str = "default", **options: Any) -> dict[str, list[dict[str, Any]]]:
    context = context_of(Localisation(), n, preset, **options)
    return {name: list(found) for name, found in Localisation().rows(context, context.data).items()}


def near(peak: int, patches: set[int]) -> bool:
    """Within one step, by a plain loop over the patches."""
    row, column = divmod(peak, SIDE)
    return any(max(abs(row - one // SIDE), abs(column - one % SIDE)) <= 1 for one in patches)


@pytest.mark.parametrize(("rows", "shift"), [("having", 0), ("producing", 1)])
@torch.no_grad()
def test_accuracy_is_that_of_the_peaks_of_written_out_attention(rows: str, shift: int) -> None:
    context = context_of(Localisation(), 1, max_new_tokens=12, details="all", rows=rows)
    example, inputs, plain = context.data[0], describing(context, context.data[0]), plain_demo()
    run = demo().generate(inputs, max_new_tokens=12)
    assert run.text == "A white ball is on the left. A black car is"
    plain.step_logits(inputs, run.tokens)  # its last pass holds every row but the last token's
    image, n = list(inputs.layout.positions("image")), inputs.layout.n_prompt
    found = Localisation().rows(context, context.data)["accuracy"]
    for word in ("ball", "car"):
        named = [position - shift for position in run.layout.find(word)]
        others = [row for row in range(n - 1, n + 11) if row not in named]
        (annotation,) = example.of(word)
        patches = {one - image[0] for one in inputs.layout.region(annotation.mask).positions}
        mine = [row for row in found if row["detail"] == word]
        assert [row["layer"] for row in mine] == list(range(N_LAYERS))
        for row in mine:
            pattern = plain.patterns["decoder", row["layer"]][0].mean(dim=0)[:, image]
            assert row["is_right"] == near(int(pattern[named].mean(dim=0).argmax()), patches)
            assert row["others"] == near(int(pattern[others].mean(dim=0).argmax()), patches)
            assert row["chance"] == np.mean([near(place, patches) for place in range(SIDE * SIDE)])
    assert len({row["is_right"] for row in found}) == 2  # else any peak would do


def test_details_are_what_the_judge_finds_lost_without_a_direct_look_at_the_picture() -> None:
    found = rows_of(max_new_tokens=60)
    (described,) = found["descriptions"]
    compared = judge_named("objects").compare(described["text"], described["blocked"])
    assert [row["name"] for row in found["details"]] == [one.name for one in compared.lost]
    assert (described["n_named"], described["n_details"]) == (len(compared.reference), len(compared.lost))
    every = rows_of(max_new_tokens=60, details="all")
    assert [row["name"] for row in every["details"]] == [one.name for one in compared.reference]
    assert every["descriptions"][0]["text"] == described["text"]
    lost = {row["name"] for row in found["details"]}
    assert [row for row in every["accuracy"] if row["detail"] in lost] == found["accuracy"]


def test_each_detail_says_what_became_of_it() -> None:
    found = rows_of(max_new_tokens=60, details="all", n_maps=1)
    statuses = {row["detail"]: row["status"] for row in found["details"]}
    # Surfaces are not annotated.
    assert statuses == {"ball": KEPT, "car": KEPT, "person": KEPT, "rug": NO_MASK, "stripe": KEPT}
    kept = [name for name, status in statuses.items() if status == KEPT]
    assert list(dict.fromkeys(row["detail"] for row in found["accuracy"])) == kept
    assert list(dict.fromkeys(row["detail"] for row in found["maps"])) == kept
    assert len(found["maps"]) == len(kept) * SIDE * SIDE and len(found["pictures"]) == 1


def test_what_is_cut_away_or_cut_short_is_told_apart() -> None:
    context = context_of(Localisation(), 1, max_new_tokens=3, details="all")
    (cut,) = Localisation().rows(context, context.data)["details"]  # "A white ball": the last token is not run
    assert (cut["detail"], cut["status"]) == ("ball", NOT_RUN)
    assert rows_of(max_new_tokens=3, details="all", rows="producing")["details"][0]["status"] == KEPT
    assert CUT_AWAY not in {row["status"] for row in rows_of(max_new_tokens=60, details="all")["details"]}


def test_the_presets_part_at_the_first_generated_token() -> None:
    queries = {}
    for preset in ("default", "paper"):
        context = context_of(Localisation(), 1, preset)
        grid = Localisation().grid(context, context.data[0])
        assert grid is not None
        queries[preset] = grid.conditions["img -> gen"].queries
    assert queries == {"default": "predicting", "paper": "generated"}


def test_pictures_without_masks_are_left_out_unless_a_model_makes_them() -> None:

    data = read_scenes(2)
    bare = replace(data, examples=(data[0], replace(data[1], annotations=())))
    experiment = Localisation()
    assert len(experiment.chosen(bare, experiment.Options())) == 1
    assert len(experiment.chosen(bare, experiment.Options(segmenter="clipseg:somewhere"))) == 2


@pytest.mark.parametrize("given", [{"details": "found"}, {"rows": "after"}, {"ids": "mine"}])
def test_options_that_have_no_meaning_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(InputError, match=next(iter(given.values()))):
        context_of(Localisation(), 1, **given)
