"""The paper's claims about compressed contexts, held against what was measured."""

from collections.abc import Sequence

import pandas as pd

from vlm_lens.experiments.claims import ends
from vlm_lens.experiments.reprompting.language_model import SELF
from vlm_lens.experiments.reprompting.methods import DESCRIBE, NAIVE, QUERY
from vlm_lens.experiments.reprompting.table_one import ACC, ACC_PLUS, TOKENS, average_difference
from vlm_lens.experiments.summary import Finding
from vlm_lens.metrics.intervals import Estimate

SLIGHT = {ACC: 0.05, ACC_PLUS: 0.1}
"""What is called a slight loss; the paper's own are 0.034 and 0.061 (table 1: 84.83 to 81.46, 70.60 to 64.52)."""


def findings(
    scores: pd.DataFrame,
    tokens: pd.DataFrame,
    shares: Sequence[float],
    image_shares: Sequence[float],
    llm: str,
) -> tuple[Finding, ...]:
    """What agrees with section 5 and what does not, decided by intervals of paired differences.

    Args:
        scores: of `table_one.scored`.
        tokens: of `table_one.n_tokens`.
        shares: kept beside the text.
        image_shares: kept alone.
        llm: who reads descriptions.
    """
    largest = f"{QUERY} + K={100 * max(shares):.3g}%" if shares else ""
    return tuple(
        one
        for one in (
            _loses_little(scores, largest) if largest else None,
            _takes_fewer_tokens(tokens, largest) if largest else None,
            *(_both_are_needed(scores, f"K={100 * share:.3g}%") for share in image_shares if share in shares),
            _beats_a_description(scores, largest, llm) if largest else None,
        )
        if one is not None
    )


def _loses_little(scores: pd.DataFrame, method: str) -> Finding | None:
    losses = {name: average_difference(scores, method, NAIVE, name) for name in SLIGHT}
    known = {name: one for name, one in losses.items() if one is not None}
    if not known:
        return None
    within = [ends(one)[0] > -SLIGHT[name] for name, one in known.items()]
    beyond = [ends(one)[1] < -SLIGHT[name] for name, one in known.items()]
    return Finding(
        f"{method} loses little against a full pass for each question (section 5: 2.8% of ACC and 5.3% of ACC+; table "
        "1: 3.4 and 6.1 points).",
        True if all(within) else False if any(beyond) else None,
        "; ".join(f"{name}: {_told(one)}" for name, one in known.items())
        + ". Little is at most 5 points of ACC and 10 of ACC+, with the whole interval.",
    )


def _takes_fewer_tokens(tokens: pd.DataFrame, method: str) -> Finding | None:
    counts = tokens[tokens["measure"] == TOKENS].set_index("method")["value"]
    if method not in counts or NAIVE not in counts:
        return None
    ratio = counts[NAIVE] / counts[method]
    return Finding(
        f"{method} takes at most an eighth of the tokens of a full pass (table 1: 201 of 1695).",
        bool(ratio >= 8),
        f"{counts[method]:.0f} of {counts[NAIVE]:.0f}: {ratio:.1f} times fewer, the question's own included. A picture "
        "of fewer image tokens has less to save.",
    )


def _both_are_needed(scores: pd.DataFrame, alone: str) -> Finding | None:
    both = f"{QUERY} + {alone}"
    gains = {name: average_difference(scores, both, name) for name in (QUERY, alone)}
    known = {name: one for name, one in gains.items() if one is not None}
    if len(known) < len(gains):
        return None
    return Finding(
        f"{both} answers more than the text alone and more than the image tokens alone (section 5; table 1: 77.16 "
        "against 61.03 and 62.40).",
        True if all(ends(one)[0] > 0 for one in known.values())
        else False if any(ends(one)[1] < SLIGHT[ACC] for one in known.values()) else None,
        "; ".join(f"beyond {name}: {_told(one)}" for name, one in known.items()) + ". Where the whole "
        "interval of either lies below 5 points, it does not.",
    )  # fmt: skip


def _beats_a_description(scores: pd.DataFrame, method: str, llm: str) -> Finding | None:
    gain = average_difference(scores, method, DESCRIBE)
    if gain is None:
        return None
    claim = f"{method} answers more than a language model that reads the description (table 1: 81.46 against 73.21)."
    if llm == SELF:
        return Finding(claim, None, f"{_told(gain)}, but against the model's own decoder, not a large language model.")
    low, high = ends(gain)
    return Finding(claim, True if low > 0 else False if high < 0 else None, f"{_told(gain)}.")


def _told(one: Estimate) -> str:
    return f"{100 * one.value:+.1f} points [{100 * one.low:+.1f}, {100 * one.high:+.1f}], N = {one.n} pictures"
