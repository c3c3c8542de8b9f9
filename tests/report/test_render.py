"""The page holds everything, loads nothing, and shows hostile text as text."""

import doctest
import json
from dataclasses import replace
from html.parser import HTMLParser
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_lens.report import ReportData, figures, render, render_report
from vlm_lens.report.render import finding, script_json

HOSTILE = "</script><script>document.title='pwned'</script><b>bold</b>"


class PageReader(HTMLParser):
    """Collects elements, addresses and the text of each script."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.scripts: dict[str, str] = {}
        self.texts: list[str] = []
        self._script: str | None = None
        self.n_scripts = 0
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if given.get("id"):
            self.ids.add(str(given["id"]))
        self.addresses += [str(given[name]) for name in ("src", "href") if given.get(name)]
        if tag == "script":
            self.n_scripts += 1
            self._script = given.get("id") or f"script {self.n_scripts}"
            self.scripts[self._script] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.texts.append(data)
        else:
            self.scripts[self._script] += data


def read(page: str) -> PageReader:
    reader = PageReader()
    reader.feed(page)
    reader.close()
    return reader


def test_hostile_text_adds_no_element(report_data: ReportData) -> None:
    reader = read(render_report(report_data))
    assert reader.n_scripts == 4, "plotly.js, the figures, the templates and the drawing"
    assert not any("pwned" in text for name, text in reader.scripts.items() if name != "figures")
    assert HOSTILE in reader.texts, "the prompt is shown in full, as text"


def test_every_figure_has_a_place_and_values(report_data: ReportData) -> None:
    reader = read(render_report(report_data))
    stored = json.loads(reader.scripts["figures"])
    assert len(stored) == 2 * (1 + len(figures.measured_figures(report_data.cases[0])))
    assert set(stored) <= reader.ids
    assert all(figure["data"] for figure in stored.values())


def test_page_loads_nothing_from_elsewhere(report_data: ReportData) -> None:
    reader = read(render_report(report_data))
    assert all(address.startswith(("data:", "#")) for address in reader.addresses)
    assert "link" not in reader.tags and "iframe" not in reader.tags
    styles = [text for text in reader.texts if "--page" in text]
    assert styles and not any("url(" in text or "@import" in text for text in styles)


def test_knockout_without_a_mask_says_that_the_whole_image_is_blocked(
    report_data: ReportData,
) -> None:
    with_object, without = (figures.knockout_caption(case.knockout) for case in report_data.cases)
    assert "whole image" in without and "whole image" not in with_object
    assert "Control" in with_object and "Control" not in without


def test_each_knockout_shows_its_proof_in_a_line(report_data: ReportData) -> None:
    page = render_report(report_data)
    line = "8 checks hold; 1,234 edges were blocked and no other, over 3 layers × 2 heads × 1 step."
    assert page.count(line) == page.count('class="proof"') == len(report_data.cases)


@given(st.text())
def test_script_json_cannot_end_its_element_and_reads_back(text: str) -> None:
    written = str(script_json({"text": text}))
    assert not set("<>&") & set(written)
    assert json.loads(written) == {"text": text}


def test_a_long_answer_is_told_by_the_words_it_loses(report_data: ReportData) -> None:
    case = replace(report_data.cases[0], answer="A cat is on the bed. A dog sits by.")
    cut = replace(case.knockout.from_text, answer="A dog sits on the bed.")
    case = replace(case, knockout=replace(case.knockout, from_text=cut))
    assert finding(case).endswith("no longer says: cat, is, by.")


def test_a_short_answer_is_told_by_its_first_token(report_data: ReportData) -> None:
    case = replace(report_data.cases[0], answer="Yes")
    assert "60.0%" in finding(case) and "10.0% when no word" in finding(case)


@pytest.mark.parametrize("module", [figures, render])
def test_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0 and results.failed == 0
