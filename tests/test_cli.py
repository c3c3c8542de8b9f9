"""The commands, as a person types them."""

import doctest
import sys
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
