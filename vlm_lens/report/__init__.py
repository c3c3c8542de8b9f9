"""The main job: one picture, one question, everything worth seeing, in one HTML file."""

from vlm_lens.report.bundled import bundled_questions
from vlm_lens.report.data import CaseReport, Cut, KnockoutOutcome, ModelFacts, PromptPiece, Proof, ReportData
from vlm_lens.report.make import make_report
from vlm_lens.report.measure import measure_case
from vlm_lens.report.model_facts import facts_of
from vlm_lens.report.question import Question, read_mask
from vlm_lens.report.render import render_report
from vlm_lens.report.write import write_atomically

__all__ = [
    "CaseReport",
    "Cut",
    "KnockoutOutcome",
    "ModelFacts",
    "PromptPiece",
    "Proof",
    "Question",
    "ReportData",
    "bundled_questions",
    "facts_of",
    "make_report",
    "measure_case",
    "read_mask",
    "render_report",
    "write_atomically",
]
