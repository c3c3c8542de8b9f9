"""Windows and edges of blocked attention by hand, and each quirk of the paper's preset."""

import numpy as np
import pytest
import torch

from tests.experiments.described_scenes import demo
from vlm_lens.data import read_scenes
from vlm_lens.errors import InputError
from vlm_lens.experiments.answers import beginning_of, said_of
from vlm_lens.experiments.attention_blocking import AttentionBlocking
from vlm_lens.experiments.attention_blocking.edges import (
    OBJECT,
    OBJECT_1,
    OBJECT_2,
    REST,
    ROWS_TO_ROW,
    SOURCES,
    TO_ROW,
    blocked_edges,
)
from vlm_lens.experiments.attention_blocking.windows import paper_width, paper_windows, sliding_windows
from vlm_lens.layout import TokenLayout

DEFAULT, PAPER = (AttentionBlocking.Options.preset(name) for name in ("default", "paper"))


def layout() -> TokenLayout:
    return demo().prepare(read_scenes(1)[0].image, "What is there?").layout


def test_windows_of_32_layers_are_the_papers() -> None:
    expected = {
        "early": (0, 9), "early-mid": (5, 14), "mid": (11, 20), "mid-late": (15, 24), "late": (21, 31), "all": (0, 31),
    }  # fmt: skip
    assert {name: (one[0], one[-1]) for name, one in paper_windows(32).items()} == expected


@pytest.mark.parametrize("n_layers", [1, 2, 6, 12, 24, 40])
def test_windows_lie_in_a_model_of_any_depth(n_layers: int) -> None:
    windows = paper_windows(n_layers)
    assert all(len(one) and 0 <= one[0] <= one[-1] < n_layers for one in windows.values())
    assert windows["all"] == range(n_layers)
    assert 1 <= paper_width(n_layers) <= n_layers


def test_a_sliding_window_takes_every_place() -> None:
    assert sliding_windows(6, 4) == {"0-3": range(4), "1-4": range(1, 5), "2-5": range(2, 6)}
    assert len(sliding_windows(32, paper_width(32))) == 23
    for width in (0, 7):
        with pytest.raises(InputError, match="1 to 6 layers"):
            sliding_windows(6, width)


def test_edges_are_those_of_a_hand_computed_picture() -> None:
    found = layout()
    corner = found.patches(rows=[0], cols=[0])
    edges = blocked_edges(found, corner, blocks_own_row=False)
    assert tuple(edges) == SOURCES
    assert {source: len(keys) for source, (_, keys) in edges.items()} == {
        OBJECT: 1, OBJECT_1: 4, OBJECT_2: 9, REST: 140, TO_ROW: 4, ROWS_TO_ROW: 132,
    }  # fmt: skip
    assert [queries for queries, _ in edges.values()] == ["last"] * 4 + ["last_row"] * 2
    assert blocked_edges(found, corner - corner, blocks_own_row=False) == {}


def test_the_last_row_is_blocked_from_the_objects_patches_in_itself_by_the_paper_alone() -> None:
    found = layout()
    above, below = (found.patches(rows=[row], cols=[4]) for row in (3, 10))
    for region, agree in ((above, True), (below, False)):
        default, paper = (
            set(blocked_edges(found, region, one.blocks_own_row)[TO_ROW][1].patch_ids) for one in (DEFAULT, PAPER)
        )
        assert (default == paper) is agree and default <= paper
    assert paper - default == {11 * 12 + 3, 11 * 12 + 4, 11 * 12 + 5}


def test_what_is_the_whole_picture_has_no_rest_to_block() -> None:
    found = layout()
    assert REST not in blocked_edges(found, found.patches(), blocks_own_row=True)


@pytest.mark.parametrize(
    ("token", "word", "default", "paper"),
    [
        (" cat", "cat", True, True),
        (" dog", "cat", False, False),
        ("c", "cat", False, True),
        (" ", "cat", False, True),
        (" legs", "leg", True, False),
    ],
)
def test_the_answers_token_is_its_word_or_any_beginning_of_its_first_piece(
    token: str, word: str, default: bool, paper: bool
) -> None:
    logits = torch.zeros(demo().cfg.d_vocab)
    logits[demo().to_single_token(token)] = 5.0
    answer = beginning_of(demo(), word)
    for options, expected in ((DEFAULT, default), (PAPER, paper)):
        assert said_of(demo(), logits, word, answer, options.token_rule).is_right is expected


def test_the_probability_is_of_the_answers_first_piece() -> None:
    logits = torch.linspace(-1, 1, demo().cfg.d_vocab)
    answer = beginning_of(demo(), "cat")
    found = said_of(demo(), logits, "cat", answer, "words").probability
    weights = np.exp(logits.double().numpy())
    assert found == pytest.approx(weights[demo().to_single_token(" cat")] / weights.sum())


def test_every_quirk_has_a_test() -> None:
    # `geometry` is tested in test_object_patches.py, the others here.
    assert set(AttentionBlocking.Options.quirks()) == {"geometry", "blocks_own_row", "token_rule"}


def test_windows_of_another_name_are_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match="'paper', 'sliding'"):
        AttentionBlocking.Options().but(windows="round")
