"""The page in a real browser: every figure drawn, no markup obeyed, sliders and hover at work."""

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vlm_lens.report import ReportData, render_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")

# A headless browser on virtual time paints no frames, which an animation would wait for.
FRAMES = """
<script>window.requestAnimationFrame = (paint) => setTimeout(() => paint(performance.now()), 16);</script>
"""
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


class DomReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[str, bool] = {}
        self.root: dict[str, str | None] = {}
        self.body: dict[str, str | None] = {}
        self.title = ""
        self.hover = ""
        self._open: list[str] = []
        self._hover_depth: int | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        classes = (given.get("class") or "").split()
        if tag == "html":
            self.root = given
        if tag == "body":
            self.body = given
        if tag == "div" and "plot" in classes:
            self.drawn[str(given["id"])] = given.get("data-drawn") == "true"
        if "hoverlayer" in classes:
            self._hover_depth = len(self._open)
        if tag not in ("br", "img", "meta", "link", "input", "hr"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        if self._hover_depth is not None and len(self._open) <= self._hover_depth:
            self._hover_depth = None

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "title" and "svg" not in self._open:
            self.title += data
        if self._hover_depth is not None:
            self.hover += data


def opened(page: str, folder: Path) -> DomReader:
    """The page's elements after its scripts have run."""
    (folder / "report.html").write_text(page, encoding="utf-8")
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1320,2400",
        "--virtual-time-budget=60000",
        "--dump-dom",
        (folder / "report.html").as_uri(),
    ]
    ended = subprocess.run(command, capture_output=True, timeout=300, check=True)
    reader = DomReader()
    reader.feed(ended.stdout.decode("utf-8"))
    return reader


def test_every_figure_is_drawn_and_hostile_text_stays_text(report_data: ReportData, tmp_path: Path) -> None:
    page = render_report(report_data)
    page = page.replace("</head>", f"{FRAMES}</head>").replace("</body>", f"{PROBE}</body>")
    reader = opened(page, tmp_path)
    assert reader.root.get("data-ready") == "true"
    assert reader.drawn and all(reader.drawn.values()), reader.drawn
    assert reader.title.startswith("</script>"), "the title is the hostile text, not its doing"
    assert reader.body.get("data-probed") == "true"
    case = report_data.cases[0]
    assert "<b>x</b>" in reader.hover, "a token with markup is shown letter by letter"
    expected = case.lens.probabilities[1, 0, :, 0]  # the stream that the slider was moved to
    first_row = [float(value) for value in str(reader.body["data-first-row"]).split()]
    assert [value % 1 for value in first_row] == pytest.approx(list(expected), abs=2e-3)
