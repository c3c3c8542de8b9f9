"""The commands, as a person types them."""

import doctest
import re
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_lens import cli
from vlm_lens.cli import report
from vlm_lens.demo.architecture import build_processor, new_llava
from vlm_lens.demo.examples import example_scenes
from vlm_lens.demo.text import corpus
from vlm_lens.demo.tokenizer import build_tokenizer
from vlm_lens.errors import InputError
from vlm_lens.experiments import ExperimentResult, experiments, run_experiment

QUESTION = "Is there a cat in this image? <script>alert(1)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights, a picture and its object's mask."""
    folder = tmp_path_factory.mktemp("files")
    tokenizer = build_tokenizer(corpus())
    new_llava(tokenizer, seed=0).save_pretrained(folder / "checkpoint")
    build_processor(tokenizer).save_pretrained(folder / "checkpoint")
    example = example_scenes()[0]
    assert example.subject is not None
    Image.fromarray(example.scene.image).save(folder / "scene.png")
    Image.fromarray(example.subject.mask.astype(np.uint8) * 255).save(folder / "mask.png")
    return folder


def typed(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Runs a command line; its exit code."""
    monkeypatch.setattr(sys, "argv", ["vlm_lens", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_report_is_written_and_its_place_printed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "report.html"
    options = ["--mask", folder / "mask.png", "--word", "cat", "--layers", "1-2,4", "--max-new-tokens", 3]
    code = typed(
        monkeypatch, "report", folder / "scene.png", "--prompt", QUESTION,
        "--model", folder / "checkpoint", "--out", out, *options,
    )  # fmt: skip
    assert code == 0
    assert str(out.resolve()) in capsys.readouterr().out
    page = out.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page
    assert "layers 1, 2, 4 of 0 to 5" in page
    assert [entry.name for entry in out.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "absent.png"], "absent.png"),
        (["report", "{folder}/mask.png", "--layers", "9"], "some of 0 to 5"),
        (["report", "{folder}/mask.png", "--layers", "x"], "numbers and ranges"),
        (["report", "{folder}/mask.png", "--mask", "absent.png"], "no file at 'absent.png'"),
        (["report", "{folder}/mask.png", "--word", "zebrafish"], "single token"),
        (["report", "{folder}/mask.png", "--template", "absent"], "template"),
        (["report", "{folder}/mask.png", "--prompt", "<image><image>"], "image"),
        (["report", "{folder}/mask.png", "--model", "{folder}/absent"], "absent"),
        (["report", "{folder}/mask.png", "--model", "nobody/nothing"], "nobody/nothing"),
        (["report", "{folder}/mask.png", "--device", "banana"], "got 'banana'"),
        (["report", "{folder}/mask.png", "--device", "cuda:99"], "got 'cuda:99'"),
        (["report", "{folder}/mask.png", "--dtype", "banana"], "got 'banana'"),
    ],
)
def test_an_error_is_one_line_and_leaves_no_file(
    words: list[str],
    said: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word.format(folder=folder) for word in words]
    if "--model" not in words:
        words += ["--model", str(folder / "checkpoint")]
    code = typed(monkeypatch, *words, "--out", tmp_path / "report.html")
    written = capsys.readouterr()
    message = written.err.strip().splitlines()[-1]
    assert code == 2
    assert message.startswith("error: ") and said in message
    assert "Traceback" not in written.err
    assert list(tmp_path.iterdir()) == []


def test_experiments_are_listed_and_each_tells_its_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, "experiments") == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(experiments())
    assert typed(monkeypatch, "experiments", "attention-blocking") == 0
    told = capsys.readouterr().out
    for option in fields(experiments()["attention-blocking"].Options):
        assert f"  {option.name}=" in told and option.metadata["quirk"] in told


def test_a_run_is_told_kept_and_read_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "attention-blocking", "--model", folder / "checkpoint", "--data", "scenes,n=3,surfaces=true"]
    chosen = ["--limit", 9, "--set", "among_right=false", "--set", "windows=sliding", "--set", "width=6", "--out"]
    assert typed(monkeypatch, *words, *chosen, tmp_path / "run") == 0
    written = capsys.readouterr()
    found = ExperimentResult.load(tmp_path / "run")
    assert found.spec.data["n"] == 3 and found.spec.options["width"] == 6
    assert found.told() in written.out.replace(f", in {(tmp_path / 'run').resolve()}", f", in {tmp_path / 'run'}")
    assert "100%" in written.err and "example/s" in written.err


def test_figures_of_a_run_open_without_a_network(folder: Path, tmp_path: Path) -> None:
    options = {"among_right": False, "windows": "sliding", "width": 6, "shows_progress": False}
    run_experiment(
        "attention-blocking", str(folder / "checkpoint"), "scenes,n=2,surfaces=true", out=tmp_path, **options
    )
    pages = list((tmp_path / "figures").glob("*.html"))
    assert len(pages) == 2
    for page in pages:
        sources = re.findall(r"<script[^>]* src=\"([^\"]*)\"", page.read_text(encoding="utf-8"))
        assert sources == ["plotly.min.js"] and (page.parent / sources[0]).stat().st_size > 1_000_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "absent"], "one of part-identification"),
        (["run", "correspondence", "--data", "cocoa:/data"], "one of the formats scenes, coco"),
        (["run", "correspondence", "--data", "coco"], "a place (folder), got none. Write coco:FOLDER"),
        (["run", "correspondence", "--data", "coco:/absent"], "/absent/annotations"),
        (["run", "correspondence", "--data", "scenes,n=four"], "got 'four'"),
        (["run", "correspondence", "--data", "scenes,m=4"], "arguments among n"),
        (["run", "correspondence", "--data", "scenes,n=1", "--set", "least_area=200000"], "at least one example"),
        (["run", "correspondence", "--set", "match"], "option=value"),
        (["run", "correspondence", "--set", "mach=aliases"], "'mach'"),
        (["run", "correspondence", "--set", "match=alias"], "one of 'aliases', 'first piece'"),
        (["run", "correspondence", "--set", "n_draws=0"], "1 or more"),
        (["run", "correspondence", "--preset", "published"], "default or paper"),
        (["run", "correspondence", "--model", "{folder}/absent"], "absent"),
        (["run", "correspondence", "--model", "{folder}/checkpoint", "--dtype", "banana"], "got 'banana'"),
        (["run", "correspondence", "--dtype", "bfloat16"], "its one revision, in float32, got revision None, bfloat16"),
    ],
)
def test_a_run_that_cannot_be_is_one_line_and_leaves_no_folder(
    words: list[str],
    said: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = typed(monkeypatch, *(word.format(folder=folder) for word in words), "--out", tmp_path / "run")
    (message,) = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and message.startswith("error: ") and said in message
    assert list(tmp_path.iterdir()) == []


def test_labels_are_told_with_the_pieces_of_those_that_the_tokenizer_splits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, "labels", "tail", "paw") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["label", "form", "role", "token", "pieces"]
    assert any(line[:3] == ["tail", "tail", "alias"] and line[4] == "▁tail" for line in lines)
    assert ["paw", "paw", "split", "<NA>", "▁p", "a", "w"] in lines
    assert typed(monkeypatch, "labels", "--set", "absent") == 2
    assert "one of parts" in capsys.readouterr().err


def test_a_prompt_is_no_option_of_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(monkeypatch, "demo", "--prompt", "x") == 2
    assert "--prompt" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", ",", "1-", "-1", "3-1", "a", "1.5"])
def test_layers_that_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--layers"):
        report.parse_layers(text)


def test_examples_in_the_docstrings_hold() -> None:
    results = doctest.testmod(report)
    assert results.attempted > 0 and results.failed == 0
