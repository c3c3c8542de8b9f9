"""The tutorials run, in under a minute each, and stand in the repository with their outputs."""

import re
import resource
from pathlib import Path

import nbformat
import pytest

from tutorials.execute import TUTORIALS, executed

REPOSITORY = Path(__file__).parents[2]
SECONDS = 60

every_tutorial = pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)


def outputs_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_there_are_tutorials() -> None:
    assert [path.name[:2] for path in TUTORIALS] == [f"{n}_" for n in range(1, len(TUTORIALS) + 1)]
    assert len(TUTORIALS) >= 2


def processor_seconds() -> float:
    """What ended child processes have used, on all cores: a busy machine makes a notebook slower, not longer."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@every_tutorial
@pytest.mark.filterwarnings("default")  # of the notebook client and its event loop
def test_a_tutorial_runs_in_under_a_minute(path: Path) -> None:
    before = processor_seconds()
    notebook = executed(path)
    assert 1 < processor_seconds() - before < SECONDS, "of the kernel, which has ended"
    errors = [output for output in outputs_of(notebook) if output.output_type == "error"]
    assert errors == []


@every_tutorial
def test_a_tutorial_stands_with_the_outputs_of_one_run_from_top_to_bottom(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(output.output_type != "error" for output in outputs_of(notebook))
    assert all(output.get("name") != "stderr" for output in outputs_of(notebook))


@every_tutorial
def test_a_tutorial_shows_pictures(path: Path) -> None:
    outputs = outputs_of(nbformat.read(path, as_version=4))
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2


@every_tutorial
def test_a_tutorial_opens_with_a_question_and_closes_with_its_answer(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    first, last = notebook.cells[0], notebook.cells[-1]
    assert first.cell_type == last.cell_type == "markdown"
    assert "?" in first.source
    assert last.source.startswith("## The answer\n")


def numbers_printed(notebook: nbformat.NotebookNode) -> list[float]:
    """Every number in what the cells printed or displayed as text."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs_of(notebook)]
    return [float(number) for text in texts for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


@every_tutorial
def test_the_decimals_of_the_answer_are_printed_above_it(path: Path) -> None:
    """Rounded to as many places as the answer gives."""
    notebook = nbformat.read(path, as_version=4)
    printed = numbers_printed(notebook)
    decimals = re.findall(r"-?\d+\.\d+", notebook.cells[-1].source)
    assert decimals, "an answer names what was measured"
    for decimal in decimals:
        n_places = len(decimal.partition(".")[2])
        assert any(f"{number:.{n_places}f}" == decimal for number in printed), decimal


@every_tutorial
def test_a_tutorial_names_no_folder_of_the_machine_it_was_run_on(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert str(REPOSITORY) not in text and str(Path.home()) + "/" not in text
