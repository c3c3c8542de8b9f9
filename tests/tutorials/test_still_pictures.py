"""Figures of a notebook get a still picture beside them, for viewers that draw none."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import plotly.graph_objects as go
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from tests.report.browser import needs_browser
from tutorials.execute import TUTORIALS
from tutorials.still_pictures import FIGURE, PICTURE, WIDTH, with_still_pictures


def figure(colour: str, height: int) -> dict[str, Any]:
    shown = go.Figure(layout={"height": height, "plot_bgcolor": colour, "margin": dict(l=0, r=0, t=20, b=0)})
    shown.update_layout(template={"layout": {"paper_bgcolor": "rgba(0, 0, 0, 0)"}})
    shown.update_xaxes(visible=False).update_yaxes(visible=False)
    return json.loads(shown.to_json())


def notebook(*figures: dict[str, Any]) -> nbformat.NotebookNode:
    outputs = [new_output("display_data", {FIGURE: one}) for one in figures]
    text = new_output("stream", text="words")
    return new_notebook(cells=[new_code_cell("show()", outputs=[text, *outputs])])


@needs_browser
def test_each_figure_is_drawn_at_its_own_height_and_stays_interactive() -> None:
    kept = with_still_pictures(notebook(figure("#ff0000", 120), figure("#0000ff", 200)))
    text, *drawn = kept.cells[0].outputs
    assert text.text == "words"
    for output, height, colour in zip(drawn, (120, 200), ((255, 0, 0), (0, 0, 255)), strict=True):
        assert output.data[FIGURE]["layout"]["height"] == height
        picture = Image.open(BytesIO(base64.b64decode(output.data[PICTURE]))).convert("RGBA")
        assert picture.size == (WIDTH, height)
        assert tuple(np.asarray(picture)[height // 2, WIDTH // 2]) == (*colour, 255)
        assert tuple(np.asarray(picture)[5, 5]) == (255, 255, 255, 255), "readable on a dark page too"


@needs_browser
def test_a_figure_whose_text_would_close_the_script_is_drawn() -> None:
    shown = figure("#ffffff", 150)
    shown["layout"]["title"] = {"text": "a </script> within"}
    assert PICTURE in with_still_pictures(notebook(shown)).cells[0].outputs[1].data


def test_without_a_figure_or_a_browser_a_notebook_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    words = with_still_pictures(notebook()).cells[0].outputs
    assert words == notebook().cells[0].outputs
    monkeypatch.setattr("tutorials.still_pictures.BROWSER", None)
    one = notebook(figure("#ffffff", 100))
    assert PICTURE not in with_still_pictures(one).cells[0].outputs[1].data


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_every_figure_of_a_tutorial_stands_beside_its_picture(path: Path) -> None:
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    figures = [output.data for output in outputs if FIGURE in output.get("data", {})]
    assert all(PICTURE in data for data in figures)
