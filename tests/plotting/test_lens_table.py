"""The table of positions and layers: words where they have room, and nothing that a token could inject."""

import numpy as np

from tests.plotting.conftest import MARKUP_TOKEN
from vlm_lens.plotting import TopTokens, lens_table


def table_of(n_positions: int) -> TopTokens:
    tokens = np.full((3, n_positions, 2), " cat")
    tokens = tokens.astype("<U24")
    tokens[2, 0, 0], tokens[1, 0, 0] = MARKUP_TOKEN, " a long word"
    probabilities = np.linspace(0.1, 0.9, 3 * n_positions * 2).reshape(3, n_positions, 2)
    return TopTokens(tokens, probabilities)


def test_each_cell_has_the_best_token_and_its_probability() -> None:
    lens = table_of(4)
    figure = lens_table(lens, ["embed", "0", "1"], ["<s>", " is", "\n", MARKUP_TOKEN])
    (trace,) = figure.data
    np.testing.assert_allclose(trace.z, lens.probabilities[..., 0], rtol=1e-6)
    assert trace.text[0, 1] == "·cat" and trace.text[1, 0] == "·a long…"
    assert list(trace.y) == ["embed", "0", "1"]
    assert figure.layout.xaxis.ticktext[:3] == ("&lt;s&gt;", "·is", "⏎")
    shown = figure.to_json()
    assert "<b onclick" not in shown and "\\u003cb onclick" not in shown


def test_a_long_text_is_shown_without_words_but_with_hover() -> None:
    figure = lens_table(table_of(60), ["embed", "0", "1"], [" x"] * 60)
    (trace,) = figure.data
    assert trace.texttemplate is None and "·cat" in trace.customdata[0, 5, 0] and figure.layout.width is None
