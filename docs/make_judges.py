"""Write into `judges.md` how well the offline judge agrees with the hand-labelled pairs of captions.

    python -m docs.make_judges

`tests/metrics/judges/test_docs_judges.py` holds the page against the same figures.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vlm_lens.metrics.intervals import mean_over_pictures
from vlm_lens.metrics.judges import Judge, ObjectListJudge
from vlm_lens.metrics.judges.agreement import Agreement, agreement, labelled_pairs
from vlm_lens.metrics.judges.agreement.agreement import Answer

PAGE = Path(__file__).parent / "judges.md"
_PLACE = re.compile(r"(?<=<!-- agreement -->\n).*?(?=<!-- /agreement -->)", re.DOTALL)
_JUDGES: dict[str, Judge] = {
    "`objects`": ObjectListJudge(),
    "`objects,open_vocabulary=false`": ObjectListJudge(open_vocabulary=False),
}


def share(found: Agreement, counts: Callable[[Answer], bool]) -> str:
    """The share of some questions that judge and reader answer alike, with its interval over pairs of captions."""
    asked = [[one for one in answers if counts(one)] for answers in found.answers]
    alike = [sum(one.judged == one.label for one in answers) for answers in asked]
    estimate = mean_over_pictures(np.array(alike, float), np.array([len(answers) for answers in asked], float))
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def table() -> str:
    """The agreement of each judge on each half, as Markdown."""
    columns = ["judge", "half", "pairs", "questions", "accuracy, %", "of the reader's yes, %", "of the reader's no, %"]
    columns += ["r of F1", "mean F1, reader / judge"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, judge in _JUDGES.items():
        for half in ("held out", "tuning"):
            found = agreement(judge, labelled_pairs(half))
            shares = (
                share(found, lambda one: True),
                share(found, lambda one: one.label),
                share(found, lambda one: not one.label),
            )
            means = [sum(values) / found.n_pairs for values in (found.label_f1, found.judge_f1)]
            told = f"{found.f1_correlation:.3f} | {means[0]:.3f} / {means[1]:.3f}"
            lines.append(
                f"| {name} | {half} | {found.n_pairs} | {sum(found.confusion)} | {' | '.join(shares)} | {told} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_PLACE.sub(lambda _: table(), page), encoding="utf-8")


if __name__ == "__main__":
    main()
