"""Answers from compressed contexts, counted."""

import pandas as pd
import pytest

from vlm_lens import HookedVLM
from vlm_lens.demo.evaluation.reprompting import reprompting


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    conditions = [("both", "top"), ("both", "random")]
    return reprompting(HookedVLM.demo(), 4, shares=(0.05, 1.0), conditions=conditions)


def test_there_is_a_row_for_every_kind_of_context(found: pd.DataFrame) -> None:
    assert found.groupby(["variant", "order", "share"], dropna=False).size().max() == 1
    assert list(found.variant.unique()) == ["whole", "query", "image", "both"]
    assert len(found) == 3 + 2 * 2 and (found.n == 4).all()
    assert ((found.low <= found.accuracy) & (found.accuracy <= found.high)).all()


def test_everything_kept_is_the_same_context_in_whatever_order_it_was_chosen(found: pd.DataFrame) -> None:
    whole = found[(found.variant == "both") & (found.share == 1.0)]
    assert whole.accuracy.nunique() == whole.says_yes.nunique() == 1


def test_the_bundled_model_answers_from_the_top_tokens(found: pd.DataFrame) -> None:
    top = found[(found.variant == "both") & (found.order == "top") & (found.share == 0.05)].iloc[0]
    assert top.accuracy >= 0.75 and top.n_tokens < 20
