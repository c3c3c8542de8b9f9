"""Parts segmented by the words of patches: rows against a naive loop, presets, the layout of table 2."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.experiments.described_scenes import demo
from tests.segmenters.tiny_clipseg import saved_clipseg
from vlm_lens.data import Annotation, Dataset, Example, read_scenes
from vlm_lens.data.labels import aliases_of
from vlm_lens.errors import InputError
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.part_segmentation import PartSegmentation
from vlm_lens.experiments.part_segmentation.predictions import CHANCE, LENS, MAJORITY, SEGMENTER, SHUFFLED
from vlm_lens.experiments.part_segmentation.summary import state_of_each
from vlm_lens.experiments.summary import Summary
from vlm_lens.segmenters import segmenter_named

EXPERIMENT = PartSegmentation()


def context_of(data: Dataset, preset: str = "default", **options: Any) -> Context:
    chosen = EXPERIMENT.Options.preset(preset).but(**options)
    return Context(demo(), EXPERIMENT.chosen(data, chosen), chosen, 0, Path("nowhere"), shows_progress=False)


def frames(context: Context) -> dict[str, pd.DataFrame]:
    return {name: pd.DataFrame(rows) for name, rows in EXPERIMENT.rows(context, context.data).items()}


def summary_of(context: Context) -> Summary:
    return EXPERIMENT.summarised(frames(context), context.options, EXPERIMENT.facts(context))


def drawn(width: int, height: int, **objects: Mapping[str, tuple[int, int, int, int]]) -> Dataset:
    """One noisy picture with parts in boxes (left, top, right, bottom)."""
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)

    def annotation(category: str, boxes: Mapping[str, tuple[int, int, int, int]]) -> Annotation:
        masks = {part: np.zeros((height, width), bool) for part in boxes}
        for part, (left, top, right, bottom) in boxes.items():
            masks[part][top:bottom, left:right] = True
        whole = np.logical_or.reduce(list(masks.values()))
        return Annotation(category, float(whole.sum()), lambda: whole, lambda: masks)

    annotations = tuple(annotation(category, boxes) for category, boxes in objects.items())
    example = Example("1", lambda: Image.fromarray(pixels), (height, width), annotations)
    return Dataset("drawn", "0", (example,))


@cache
def scenes() -> tuple[Context, dict[str, pd.DataFrame], Summary]:
    """Four scenes, their rows and what is made of them."""
    context = context_of(read_scenes(4))
    rows = frames(context)
    return context, rows, EXPERIMENT.summarised(rows, context.options, EXPERIMENT.facts(context))


def test_rows_equal_a_loop_over_pixels_and_plain_activations() -> None:
    context, rows, _ = scenes()
    vlm, example = demo(), context.data[1]
    parts = EXPERIMENT.facts(context)["parts"]
    words = {
        word: list(aliases_of(word, vlm.tokenizer).tokens)
        for one in example.annotations for word in (one.category, *parts[one.category])
    }  # fmt: skip
    inputs = vlm.prepare(example.image, "USER: <image>", template="literal")
    _, cache = vlm.run_with_cache(inputs)
    state = 3
    patches = vlm.ln_final(cache["resid_post", state - 1])[0, inputs.layout.positions("image")]
    probabilities = (patches @ vlm.unembed.W_U + vlm.unembed.b_U).softmax(-1).detach()
    said = {word: probabilities[:, tokens].sum(-1) for word, tokens in words.items()}
    classes = sorted({one.category for one in example.annotations})
    true = np.full(example.size or (), "", dtype=object)
    masks = [(f"{o.category}'s {part}", mask) for o in example.annotations for part, mask in o.parts.items()]
    for name, mask in sorted(masks, key=lambda found: -found[1].sum()):
        true[mask] = name
    assert true.shape == (192, 192)  # of 12 x 12 patches that saw 16 pixels each way
    counts: dict[str, dict[str, int]] = {}
    for y in range(192):
        for x in range(192):
            if not true[y, x]:
                continue
            patch = y // 16 * 12 + x // 16
            part = max(sorted({p for one in classes for p in parts[one]}), key=lambda p: float(said[p][patch]))
            own = [one for one in classes if part in parts[one]]
            label = f"{max(own, key=lambda one: float(said[one][patch]))}'s {part}"
            for name, key in ((true[y, x], "annotated"), (label, "predicted")):
                counts.setdefault(name, dict.fromkeys(("intersection", "annotated", "predicted"), 0))[key] += 1
            counts[label]["intersection"] += label == true[y, x]
    found = rows["counts"]
    found = found[(found["example"] == example.id) & (found["method"] == LENS) & (found["state"] == state)]
    assert found.set_index("label")[["intersection", "annotated", "predicted"]].to_dict("index") == counts


def test_states_run_from_what_enters_the_decoder_to_the_last_layer() -> None:
    _, rows, summary = scenes()
    found = rows["counts"].groupby("method")["state"].agg(lambda states: sorted(states.dropna().unique()))
    assert found[LENS] == found[SHUFFLED] == [0, 1, 2, 3, 4, 5, 6]
    assert found[CHANCE] == found[MAJORITY] == []
    assert summary.tables["by layer"].layout.columns.tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_chance_and_shuffling_share_what_they_must() -> None:
    _, rows, _ = scenes()
    counts = rows["counts"]
    sums = counts.groupby(["example", "method", "state"], dropna=False)[["annotated", "predicted"]].sum()
    for example, found in sums.groupby("example"):
        assert found["annotated"].nunique() == 1, example
        np.testing.assert_allclose(found["predicted"], found["annotated"].iloc[0])


def test_the_table_has_the_papers_column_and_a_row_for_each_method() -> None:
    _, _, summary = scenes()
    layout = summary.tables["table 2"].layout
    assert layout.columns.tolist() == ["mIoU"]
    assert layout.index.tolist() == [
        "vlm",
        "vlm, patches shuffled",
        "a label by chance",
        "the best label for each patch",
    ]
    assert all(figure().data for figure in summary.figures.values())


def test_a_single_picture_decides_nothing() -> None:
    findings = summary_of(context_of(read_scenes(1))).findings
    assert {one.agrees for one in findings} == {None} and not any("nan" in one.told for one in findings)


def test_a_text_prompted_segmenter_is_a_row_above_the_model(tmp_path: Path) -> None:
    context = context_of(read_scenes(2), segmenter=f"clipseg:{saved_clipseg(tmp_path)}")
    summary = summary_of(context)
    assert summary.tables["table 2"].layout.index.tolist()[:2] == ["CLIPSeg (baseline)", "vlm"]
    assert any("text-prompted segmenter" in one.claim for one in summary.findings)
    other = context_of(read_scenes(2), segmenter="given")
    with pytest.raises(InputError, match="clipseg:FOLDER"):
        EXPERIMENT.facts(other)


def test_the_segmenters_best_label_is_counted_pixel_by_pixel(tmp_path: Path) -> None:
    context = context_of(drawn(40, 20, cat={"ear": (0, 0, 40, 10), "tail": (0, 10, 40, 20)}),
                         segmenter=f"clipseg:{saved_clipseg(tmp_path)}")  # fmt: skip
    scores = segmenter_named(context.options.segmenter).segment(context.data[0].image, ["cat's ear", "cat's tail"])
    seen = scores.argmax(axis=0)[:, 10:30]  # the crop's
    found = frames(context)["counts"]
    found = found[found["method"] == SEGMENTER].set_index("label")
    assert found.loc["cat's ear", "annotated"] == 200
    for place, (label, rows) in enumerate({"cat's ear": slice(10), "cat's tail": slice(10, 20)}.items()):
        if label in found.index:
            assert found.loc[label, "intersection"] == (seen[rows] == place).sum()
            assert found.loc[label, "predicted"] == (seen == place).sum()


def test_padding_shows_the_model_what_the_crop_leaves_out() -> None:
    data = drawn(120, 60, cat={"ear": (0, 0, 20, 20), "tail": (50, 0, 70, 60)})
    cropped, padded = (frames(context_of(data, preset))["pictures"].iloc[0] for preset in ("default", "paper"))
    assert cropped["share_unseen"] == 400 / 1600 and padded["share_unseen"] == 0
    assert (cropped["n_pixels"], padded["n_pixels"]) == (1200, 1600)


def test_a_label_that_is_no_whole_token_is_left_out_or_read_by_its_first_piece() -> None:
    data = drawn(64, 64, horse={"hoof": (0, 0, 20, 20), "tail": (40, 40, 60, 60)})
    default, paper = (context_of(data, preset) for preset in ("default", "paper"))
    assert set(frames(default)["counts"]["label"]) == {"horse's tail"}
    assert set(frames(paper)["counts"]["label"]) == {"horse's tail", "horse's hoof"}
    assert EXPERIMENT.facts(default)["split"]["hoof"][0] == "▁h"
    assert any("'hoof' is no whole token" in note and "left out" in note for note in summary_of(default).notes)


def test_presets_agree_on_a_square_picture_whose_labels_are_whole() -> None:
    data = drawn(64, 64, cat={"ear": (0, 0, 20, 20), "tail": (40, 40, 60, 60)})
    default, paper = (frames(context_of(data, preset)) for preset in ("default", "paper"))
    for name in default:
        pd.testing.assert_frame_equal(default[name], paper[name])


def test_background_counts_against_what_is_said_there_where_that_is_asked_for() -> None:
    data = drawn(64, 64, cat={"ear": (0, 0, 20, 20), "tail": (40, 40, 60, 60)})
    void, counted = (
        frames(context_of(data, background=background))["counts"].groupby("method")["predicted"].max()[CHANCE]
        for background in ("void", "counted")
    )
    assert (void, counted) == (800 / 2, 64 * 64 / 2)


def rows_of(best: Mapping[str, int]) -> pd.DataFrame:
    """Pictures that are read rightly at one state each, at a third elsewhere."""
    return pd.DataFrame(
        [
            {"example": example, "method": LENS, "state": state, "label": "cat's ear",
             "intersection": 9.0 if state == right else 3.0, "annotated": 9.0, "predicted": 9.0}
            for example, right in best.items() for state in range(4)
        ]
    )  # fmt: skip


def test_held_out_states_are_chosen_by_the_other_half() -> None:
    rows = rows_of({"a": 1, "b": 2, "c": 1, "d": 2})
    assert state_of_each(rows, ["a", "b", "c", "d"], "held out", 3) == {"a": 2, "b": 1, "c": 2, "d": 1}
    assert set(state_of_each(rows, ["a", "b"], "last", 3).values()) == {3}
    assert set(state_of_each(rows, ["a", "b"], 0, 3).values()) == {0}
    with pytest.raises(InputError, match="number from 0 to 3"):
        state_of_each(rows, ["a"], 4, 3)


def test_pictures_without_parts_are_refused_and_those_without_a_seen_one_are_counted() -> None:
    plain = Dataset("plain", "0", tuple(drawn(64, 64, cat={"ear": (0, 0, 1, 1)})[0:0]))
    with pytest.raises(InputError, match="at least one example"):
        EXPERIMENT.chosen(plain, EXPERIMENT.Options()).some()
    unseen = context_of(drawn(120, 60, cat={"ear": (0, 0, 20, 20)}))
    with pytest.raises(InputError, match="none of 1 pictures"):
        summary_of(unseen)


def test_another_process_takes_the_candidates_from_the_runs_folder(tmp_path: Path) -> None:
    context, rows, _ = scenes()
    first = Context(demo(), context.data, context.options, 0, tmp_path, shows_progress=False)
    EXPERIMENT.prepare(first)
    alone = Context(demo(), context.data[2:3], context.options, 0, tmp_path, shows_progress=False)
    mine = rows["counts"][rows["counts"]["example"] == alone.data[0].id]
    pd.testing.assert_frame_equal(frames(alone)["counts"], mine.reset_index(drop=True))


def test_data_without_any_part_are_refused_with_what_would_do() -> None:
    data = drawn(64, 64, cat={"ear": (0, 0, 0, 0)})
    with pytest.raises(InputError, match="ovparts:FOLDER"):
        EXPERIMENT.facts(context_of(data))
