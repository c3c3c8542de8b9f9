"""Judges of captions: which objects one names that another one loses or adds."""

from vlm_lens.metrics.judges.chat import ChatClient, ChatJudge, Cost
from vlm_lens.metrics.judges.judge import Comparison, Judge, Mention, NamedObject
from vlm_lens.metrics.judges.judge_named import judge_named
from vlm_lens.metrics.judges.object_list import ObjectListJudge

__all__ = [
    "ChatClient",
    "ChatJudge",
    "Comparison",
    "Cost",
    "Judge",
    "Mention",
    "NamedObject",
    "ObjectListJudge",
    "judge_named",
]
