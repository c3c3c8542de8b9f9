"""docs/reprompting.md runs as it stands, and what it promises holds."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "reprompting.md"


def test_the_page_runs_and_the_context_answers(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "reprompting"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    assert "both: 18 of 155 positions in each of 6 layers, 7 of 144 image tokens" in capsys.readouterr().out
    context, control = names["context"], names["control"]
    assert context.n_kept == control.n_kept  # type: ignore[attr-defined]
    assert context.ask("Is there a cat in this image?").text == "Yes"  # type: ignore[attr-defined]
    assert names["description"].text  # type: ignore[attr-defined]
