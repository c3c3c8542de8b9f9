"""Still pictures of plotly figures, drawn by a headless browser: for readers whose viewer of notebooks draws none."""

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image
from plotly.offline import get_plotlyjs

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FIGURE, PICTURE = "application/vnd.plotly.v1+json", "image/png"
WIDTH = 760
SECONDS = 120
HEADER = "data:image/png;base64,"
# On virtual time a headless browser paints no frames, which plotly would wait for.
_PAGE = """<html><head><meta charset="utf-8">
<script>window.requestAnimationFrame = (paint) => setTimeout(() => paint(performance.now()), 16);</script>
<script>{plotly}</script></head><body><script>
const width = {width};
(async () => {{
  for (const figure of {figures}) {{
    const place = document.body.appendChild(document.createElement("div"));
    const layout = {{height: 450, paper_bgcolor: "white", ...figure.layout, width: width, autosize: false}};
    await Plotly.newPlot(place, figure.data, layout, {{staticPlot: true}});
    const url = await Plotly.toImage(place, {{format: "png", width: width, height: layout.height}});
    place.remove();
    document.body.appendChild(document.createElement("pre")).textContent = url;
  }}
}})();
</script></body></html>"""


class _Pictures(HTMLParser):
    """The pictures that the page wrote down."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        if data.startswith(HEADER):
            self.found.append(data.removeprefix(HEADER))


def still_pictures(figures: Sequence[Any], browser: str) -> list[str]:
    """A PNG in base64 for each figure.

    Args:
        figures: as plotly writes them to JSON.
        browser: the path of a Chromium.

    Raises:
        RuntimeError: it drew fewer than there are.
    """
    shown = json.dumps(list(figures)).replace("</", "<\\/")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(_PAGE.format(plotly=get_plotlyjs(), figures=shown, width=WIDTH), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
        options += [f"--user-data-dir={folder}/profile", "--virtual-time-budget=60000", "--dump-dom", page.as_uri()]
        ended = subprocess.run([browser, *options], capture_output=True, timeout=SECONDS, check=True)
    reader = _Pictures()
    reader.feed(ended.stdout.decode("utf-8"))
    if len(reader.found) != len(figures):
        raise RuntimeError(f"The browser drew {len(reader.found)} of {len(figures)} figures: {ended.stderr[-500:]!r}")
    return [_smaller(one) for one in reader.found]


def with_still_pictures(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook, a still picture beside each figure; as it was where there is no browser."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    drawn = [output for output in outputs if FIGURE in output.get("data", {})]
    if BROWSER and drawn:
        pictures = still_pictures([output.data[FIGURE] for output in drawn], BROWSER)
        for output, picture in zip(drawn, pictures, strict=True):
            output.data[PICTURE] = picture
    return notebook


def _smaller(picture: str) -> str:
    """The same picture in fewer bytes; with 256 colours alone, colour bars would show steps."""
    file = BytesIO()
    Image.open(BytesIO(base64.b64decode(picture))).convert("RGB").save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")
