"""Labelled pairs of captions, and how well a judge agrees with them."""

from vlm_lens.metrics.judges.agreement.agreement import Agreement, agreement
from vlm_lens.metrics.judges.agreement.labelled import LabelledPair, labelled_pairs

__all__ = ["Agreement", "LabelledPair", "agreement", "labelled_pairs"]
