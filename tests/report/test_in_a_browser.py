"""The page in a real browser: every figure drawn, no markup obeyed, sliders and hover at work."""

from pathlib import Path

import pytest

from tests.report.browser import needs_browser, opened
from vlm_lens.report import ReportData, render_report

pytestmark = needs_browser

PROBE = """
<script>
(function probe() {
  if (document.documentElement.dataset.ready !== "true") { setTimeout(probe, 50); return; }
  const lens = document.getElementById("case-0-lens");
  const immediate = { mode: "immediate", frame: { duration: 0, redraw: true } };
  Plotly.animate(lens, ["0"], immediate)
    .then(() => {
      const z = lens._fullData[0].z;
      document.body.dataset.firstRow = Array.from(z[0]).map((v) => v.toFixed(3)).join(" ");
      Plotly.Fx.hover(lens, { xval: 0, yval: 0 }, "xy");
      document.body.dataset.probed = "true";
    })
    .catch((error) => { document.body.dataset.error = String(error); });
})();
</script>
"""


def test_every_figure_is_drawn_and_hostile_text_stays_text(report_data: ReportData, tmp_path: Path) -> None:
    reader = opened(render_report(report_data).replace("</body>", f"{PROBE}</body>"), tmp_path)
    assert reader.root["data-complaints"] == ""
    assert reader.root.get("data-ready") == "true"
    assert reader.drawn and all(reader.drawn.values()), reader.drawn
    assert reader.title.startswith("</script>"), "the title is the hostile text, not its doing"
    assert reader.body.get("data-probed") == "true"
    case = report_data.cases[0]
    assert "<b>x</b>" in reader.hover, "a token with markup is shown letter by letter"
    expected = case.lens.probabilities[1, 0, :, 0]  # the stream that the slider was moved to
    first_row = [float(value) for value in str(reader.body["data-first-row"]).split()]
    assert [value % 1 for value in first_row] == pytest.approx(list(expected), abs=2e-3)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("<script>console.error('logged')</script>", "logged"),
        ("<script>throw new Error('thrown')</script>", "thrown"),
        ("<script>Promise.reject('refused')</script>", "rejected: refused"),
        ("<img src='absent.png'>", "not loaded"),
    ],
    ids=["logged", "thrown", "rejected", "not loaded"],
)
def test_a_fault_of_a_page_would_be_heard(fault: str, said: str, tmp_path: Path) -> None:
    page = f"<!doctype html><html><head></head><body>{fault}</body></html>"
    assert said in str(opened(page, tmp_path).root["data-complaints"])
