"""The main job: one picture, one question, everything worth seeing, in one HTML file."""

from vlm_lens.report.data import CaseReport, KnockoutOutcome, ModelFacts, PromptPiece, ReportData
from vlm_lens.report.render import render_report
from vlm_lens.report.write import write_atomically

__all__ = [
    "CaseReport",
    "KnockoutOutcome",
    "ModelFacts",
    "PromptPiece",
    "ReportData",
    "render_report",
    "write_atomically",
]
