"""docs/performance.md says what the records say."""

from benchmarks.claims import CLAIMS
from docs.make_performance import PAGE, page


def test_the_page_is_made_from_the_records() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "Run python -m docs.make_performance."


def test_what_was_not_measured_neither_holds_nor_falls_short() -> None:
    record = {"sizes": {"device": "cpu"}, "tasks": {}}
    assert {claim.of(record) for claim in CLAIMS} == {(None, None)}


def test_a_claim_of_least_and_one_of_most_are_held_against_their_sides() -> None:
    forward = {"forward": {"contestants": {"vlm_lens": {"of_baseline": {"median": 1.01}}}}}
    first = CLAIMS[0]
    assert first.of({"sizes": {"device": "cpu"}, "tasks": forward}) == (1.01, True)
    forward["forward"]["contestants"]["vlm_lens"]["of_baseline"]["median"] = 1.03
    assert first.of({"sizes": {"device": "cpu"}, "tasks": forward}) == (1.03, False)
