"""The README's example runs as it stands, and shows what it says."""

import re
from pathlib import Path

import torch

from vlm_lens import HookedVLM

REPOSITORY = Path(__file__).parents[1]


def test_the_example_of_the_readme_blocks_the_animal() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    names: dict[str, object] = {}
    with torch.no_grad():
        exec(compile(example, "README.md", "exec"), names)
    logits, blind = names["logits"], names["blind"]
    assert isinstance(logits, torch.Tensor) and isinstance(blind, torch.Tensor)
    vlm = names["vlm"]
    assert isinstance(vlm, HookedVLM)
    answers = [vlm.to_single_str_token(int(run[0, -1].argmax())) for run in (logits, blind)]
    assert answers == [" Yes", " No"]


def test_the_pages_that_the_readme_names_exist() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", readme)
    assert [link for link in links if not link.startswith("http") and not (REPOSITORY / link).exists()] == []
