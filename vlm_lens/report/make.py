"""From questions to a file: measure each, render all, put the page in place."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.report.data import ReportData
from vlm_lens.report.measure import measure_case
from vlm_lens.report.model_facts import facts_of
from vlm_lens.report.question import Question
from vlm_lens.report.render import render_report
from vlm_lens.report.write import write_atomically


def make_report(
    vlm: HookedVLM,
    questions: Sequence[Question],
    path: Path,
    *,
    title: str,
    model_name: str,
    **options: Any,
) -> Path:
    """Measures every question and writes one HTML file; nothing is written if one of them fails.

    Args:
        vlm: the model.
        questions: the cases, in order.
        path: the file.
        title: of the page.
        model_name: what the page calls the model.
        options: passed on to `measure_case`: layers, dilation, top_k, max_new_tokens, template.
    """
    cases = []
    with tqdm(questions, unit="picture", leave=False, disable=None) as progress:
        for question in progress:
            progress.set_description(question.title)
            cases.append(
                measure_case(
                    vlm,
                    question.image,
                    question.prompt,
                    title=question.title,
                    mask=question.mask,
                    words=question.words,
                    on_step=progress.set_postfix_str,
                    **options,
                )
            )
    data = ReportData(title, version("vlm-lens"), facts_of(vlm, model_name), tuple(cases))
    return write_atomically(path, render_report(data))
