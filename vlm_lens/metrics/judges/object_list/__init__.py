"""The offline judge: lists of objects, matched by their names."""

from vlm_lens.metrics.judges.object_list.object_list_judge import ObjectListJudge

__all__ = ["ObjectListJudge"]
