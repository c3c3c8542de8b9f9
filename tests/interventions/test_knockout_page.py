"""What docs/interventions.md says of blocking attention is so."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm_lens import AttentionKnockout

PAGE = Path(__file__).parents[2] / "docs" / "interventions.md"


def opening() -> str:
    """What every section comes after."""
    return PAGE.read_text(encoding="utf-8").split("\n## ")[0]


def section() -> str:
    found = re.search(r"^## Blocking attention\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The names that the opening and the section leave behind."""
    names: dict[str, Any] = {"__name__": "blocking"}
    for block in re.findall(r"```python\n(.*?)```", opening() + section(), flags=re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    return names


def test_the_table_holds(page: dict[str, Any]) -> None:
    header, _, figures = re.findall(r"^\|(.*)\|$", section(), flags=re.M)[-3:]
    names, values = ([cell.strip() for cell in row.split("|")[1:]] for row in (header, figures))
    assert values == [f"{page['by_window'][name]:.2f}" for name in names]
    assert all(page["p_yes"](one) > 0.995 for one in page["to_last"].values()) and page["p_yes"]() > 0.995


def test_every_line_of_it_acts(page: dict[str, Any]) -> None:
    vlm, inputs = page["vlm"], page["inputs"]
    clean = vlm(inputs)
    for name, knockout in {**page["to_last"], **page["to_text"], **page["tower"]}.items():
        assert isinstance(knockout, AttentionKnockout)
        if name != "the published preset":
            assert not torch.equal(vlm.run(inputs, knockout).logits, clean), name


def test_the_class_token_tells_the_target_of_the_rest_one_layer_later_unless_closed(page: dict[str, Any]) -> None:
    vlm, inputs, cat, tower = page["vlm"], page["inputs"], page["cat"], page["tower"]
    elsewhere = inputs["pixel_values"].clone()
    far = (~cat.dilate(2)).patches.nonzero()[0].tolist()
    side = elsewhere.shape[-1] // cat.span.grid.n_cols
    elsewhere[..., far[0] * side : (far[0] + 1) * side, far[1] * side : (far[1] + 1) * side] += 1.0
    other = vlm.as_inputs({**dict(inputs), "pixel_values": elsewhere})
    positions = list(cat.vision_positions(has_class_token=True))
    names = [f"vision.blocks.{layer}.hook_resid_post" for layer in (0, 1)]
    for name, is_same in (
        ("target against rest", [True, False]),
        ("the class token closed too", [True, True]),
    ):
        one = tower[name]
        here = vlm.run(inputs, one, names_filter=names).cache
        moved = AttentionKnockout(cat.on(other.layout.image_span()), _on(one.keys, other), tower="vision",
                                  bidirectional=True)  # fmt: skip
        there = vlm.run(other, moved, names_filter=names).cache
        assert [torch.equal(here[at][0, positions], there[at][0, positions]) for at in names] == is_same


def _on(keys: Any, other: Any) -> Any:
    """The same keys in another picture."""
    span = other.layout.image_span()
    return type(keys)(keys.positions, but=keys.but.on(span)) if hasattr(keys, "but") else keys.on(span)
