"""The page that the `demo` command writes: complete, on time, and drawn by a real browser."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.report.browser import needs_browser, opened
from vlm_lens.report import bundled_questions

SECONDS = 180


@dataclass(frozen=True)
class Written:
    """What the command printed, the page, and how long it took."""

    printed: str
    path: Path
    seconds: float


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("demo")
    start = time.perf_counter()
    command = [sys.executable, "-m", "vlm_lens", "demo", "--out", str(folder)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Written(printed, folder / "report.html", time.perf_counter() - start)


def test_demo_reports_the_bundled_scenes_and_a_photograph(demo: Written) -> None:
    assert str(demo.path.resolve()) in demo.printed
    page = demo.path.read_text(encoding="utf-8")
    assert page.count('<section class="case"') == len(bundled_questions())


def test_it_is_written_in_under_three_minutes(demo: Written, record_property: Callable[[str, object], None]) -> None:
    record_property("seconds", round(demo.seconds, 1))
    print(f"the demo page took {demo.seconds:.1f} s")
    assert demo.seconds < SECONDS


@needs_browser
def test_a_browser_draws_every_figure_and_has_nothing_to_complain_of(demo: Written, tmp_path: Path) -> None:
    page = demo.path.read_text(encoding="utf-8")
    reader = opened(page, tmp_path)
    assert reader.root["data-complaints"] == ""
    assert reader.root.get("data-ready") == "true"
    stored = re.search(r'id="figures"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert stored is not None
    assert reader.drawn.keys() == json.loads(stored[1]).keys()
    assert all(reader.drawn.values()), [name for name, is_drawn in reader.drawn.items() if not is_drawn]
