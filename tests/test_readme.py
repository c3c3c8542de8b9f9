"""The README's examples run as they stand, and show what they say."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vlm_lens
from vlm_lens.attachments import Attachment

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the examples leave behind."""
    left: dict[str, Any] = {}
    for example in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(compile(example, "README.md", "exec"), left)
    return left


def test_the_example_blinds_every_word_to_the_cat(names: dict[str, Any]) -> None:
    assert (names["clean"].text, names["run"].text) == ("Yes", "No")
    vlm, inputs, cat = names["vlm"], names["inputs"], names["cat"]
    hook = "blocks.3.attn.hook_pattern"
    pattern = vlm.generate(inputs, names["blind"], names_filter=hook).cache[hook]
    to_cat = pattern[..., list(cat.positions)].sum(dim=-1)
    n_image = cat.span.stop
    assert to_cat[..., n_image:].max() == 0.0 < to_cat[..., :n_image].max()


def test_the_example_reads_words_and_attention(names: dict[str, Any]) -> None:
    clean, blind, cat = names["clean"][names["lens"]], names["run"][names["lens"]], names["cat"]
    assert clean.states == blind.states == ("embed", *map(str, range(names["vlm"].cfg.n_layers)))
    is_cat, is_text = np.isin(clean.positions, cat.positions), clean.places.roles == "question"
    seen, unseen = (one.target_probabilities[..., 0] for one in (clean, blind))
    np.testing.assert_array_equal(seen[:, is_cat], unseen[:, is_cat])  # the patches themselves are not blocked
    assert seen[-1, is_text].max() > 0.9 > 0.5 > unseen[-1, is_text].max()
    shares = names["clean"][names["flow"]].shares
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(shares.shape[:-1]))


def test_the_example_proves_the_knockout(names: dict[str, Any]) -> None:
    assert {"edges"} <= {one.unit for one in names["run"].verify().of(names["blind"])}


def test_the_sweep_costs_what_it_says_and_finds_the_layers_that_need_the_cat(names: dict[str, Any]) -> None:
    said, table = re.search(r"# (\d+) conditions in ([\d.]+) forward passes", README), names["table"]
    assert said is not None
    assert len(table.plan.lines) == int(said[1])
    assert table.plan.n_passes == pytest.approx(float(said[2]), abs=0.02)
    values = table.values()[..., 0]
    assert values[:, 1].min() > 0.9 > 0.5 > values[:, 0].min()


def test_every_intervention_and_probe_has_a_line() -> None:
    objects = [name for name in vlm_lens.__all__ if issubclass(getattr(vlm_lens, name), Attachment)]
    assert [name for name in objects if f"`{name}`" not in README and name not in ("Reader", "Writer")] == []


PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def anchors_of(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
