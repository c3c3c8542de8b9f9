"""A headless browser: a page opened, its scripts run, its elements and complaints read."""

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")

# A headless browser on virtual time paints no frames, which an animation would wait for.
_FRAMES = """
<script>window.requestAnimationFrame = (paint) => setTimeout(() => paint(performance.now()), 16);</script>
"""
# Before any other script: whatever the page throws, rejects, fails to load or logs as an error.
_COMPLAINTS = """
<script>
(function () {
  const root = document.documentElement;
  root.dataset.complaints = "";
  const note = (text) => { root.dataset.complaints += text + " | "; };
  window.addEventListener("error", (event) => note(event.message || "not loaded: " + event.target.outerHTML), true);
  window.addEventListener("unhandledrejection", (event) => note("rejected: " + event.reason));
  document.addEventListener("securitypolicyviolation", (event) => note("forbidden: " + event.blockedURI));
  const log = console.error.bind(console);
  console.error = (...said) => { note(said.join(" ")); log(...said); };
})();
</script>
"""


class DomReader(HTMLParser):
    """What a test asks of a page: which figures are drawn, what the root and body carry, title and hover text."""

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
    """The page's elements after its scripts have run; `root["data-complaints"]` is empty where all went well."""
    page = page.replace("<head>", f"<head>{_COMPLAINTS}", 1).replace("</head>", f"{_FRAMES}</head>", 1)
    (folder / "page.html").write_text(page, encoding="utf-8")
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
        (folder / "page.html").as_uri(),
    ]
    ended = subprocess.run(command, capture_output=True, timeout=300, check=True)
    reader = DomReader()
    reader.feed(ended.stdout.decode("utf-8"))
    return reader
