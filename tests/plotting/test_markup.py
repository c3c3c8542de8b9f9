"""Tokens are shown as text, never read as markup."""

import doctest
import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_lens.plotting import markup, theme
from vlm_lens.plotting.markup import LONGEST_TOKEN, percent, shown_token, token_markup


@given(st.text())
def test_token_markup_is_free_of_markup_and_reads_back(token: str) -> None:
    text = token_markup(token)
    assert not set("<>\"'") & set(text)
    assert html.unescape(text) == shown_token(token)


@given(st.text())
def test_shown_token_is_printable_and_short(token: str) -> None:
    shown = shown_token(token)
    assert shown.isprintable() and 0 < len(shown) <= LONGEST_TOKEN


def test_a_leading_space_is_seen() -> None:
    assert shown_token(" cat") != shown_token("cat")
    assert shown_token("▁cat") == shown_token("Ġcat") == shown_token(" cat")


@given(st.floats(0, 1))
def test_percent_rounds_neither_to_nothing_nor_to_certainty(probability: float) -> None:
    assert (percent(probability) == "0%") == (probability == 0)
    assert (percent(probability) in ("100%", "100.0%")) == (probability == 1)


@pytest.mark.parametrize("module", [markup, theme])
def test_examples_in_the_docstrings_hold(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type]
    assert results.attempted > 0 and results.failed == 0
