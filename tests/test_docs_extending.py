"""docs/extending.md runs as it stands, and what it promises holds."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm_lens.errors import EmptySelectionError, InputError

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The names that the page leaves behind."""
    names: dict[str, Any] = {"__name__": "extending"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    return names


def test_an_intervention_of_ten_lines_acts_where_it_says(page: dict[str, Any]) -> None:
    vlm, inputs, animal = page["vlm"], page["inputs"], page["animal"]
    hook = "blocks.2.hook_resid_post"
    clamp = page["Clamp"](animal, bound=1.0, hook=hook)
    found = vlm.run(inputs, clamp, names_filter=hook).cache[hook]
    clean = vlm.run(inputs, names_filter=hook).cache[hook]
    is_animal = inputs.layout.mask(animal)
    assert torch.equal(found[is_animal], clean[is_animal].clamp(-1, 1)) and clean[is_animal].abs().max() > 1
    assert torch.equal(found[~is_animal], clean[~is_animal])


def test_it_is_refused_where_it_would_touch_nothing(page: dict[str, Any]) -> None:
    with pytest.raises(EmptySelectionError, match=r"positions of Clamp\(positions='newline', bound=1.0\)"):
        page["vlm"].run(page["inputs"], page["Clamp"]("newline", bound=1.0))


def test_a_blocker_of_ten_lines_blocks_the_prompt_and_every_step(page: dict[str, Any]) -> None:
    vlm, inputs = page["vlm"], page["inputs"]
    name = "blocks.1.attn.hook_pattern"
    blocker = page["Nearsighted"](reach=40, layers=[0, 1])
    pattern = vlm.generate(inputs, blocker, max_new_tokens=3, eos_token_id=(), names_filter=name).cache[name]
    query, key = torch.meshgrid(*map(torch.arange, pattern.shape[-2:]), indexing="ij")
    assert pattern[..., query - key > 40].max() == 0.0
    assert pattern[..., (query - key >= 0) & (query - key <= 40)].min() > 0.0


def test_a_clean_reading_is_a_run_of_its_own(page: dict[str, Any]) -> None:
    vlm, inputs, animal, norms = page["vlm"], page["inputs"], page["animal"], page["NormByLayer"](page["animal"])
    names = [f"blocks.{layer}.hook_resid_post" for layer in range(vlm.cfg.n_layers)]
    cache = vlm.run(inputs, names_filter=names).cache
    by_hand = [cache[name][inputs.layout.mask(animal)].norm(dim=-1).mean().item() for name in names]
    assert list(page["clean"].values()) == pytest.approx(by_hand, rel=1e-6)  # one mean of fp32 norms
    assert all(page["flipped"][layer] != pytest.approx(value, rel=1e-3) for layer, value in enumerate(by_hand))
    # An earlier hook's writer is seen though it comes later in the list.
    assert vlm.run(inputs, norms, page["SignFlip"](animal))[norms] == page["flipped"]


def test_on_one_hook_a_probe_sees_the_writers_before_it(page: dict[str, Any]) -> None:
    run, clean, before, after = page["run"], page["clean"], page["before"], page["after"]
    assert list(run[before]) == list(range(page["vlm"].cfg.n_layers))
    assert run[before][0] == clean[0]  # no layer was clamped yet
    assert all(run[before][layer] != clean[layer] for layer in range(1, len(clean)))
    n_values = page["vlm"].cfg.d_model
    assert all(run[after][layer] < run[before][layer] and run[after][layer] <= n_values**0.5 for layer in clean)


def test_a_measure_of_ten_lines_gives_a_number_for_each_patch(page: dict[str, Any]) -> None:
    inputs = page["inputs"]
    gradient = page["GradientNorm"]()
    found = page["vlm"].run(inputs, gradient)[gradient]
    assert found.shape == (inputs.layout.image_span().grid.n_patches,) and found.min() > 0


def test_everything_on_the_page_proves_itself(page: dict[str, Any]) -> None:
    proof = page["proof"]
    assert {"Nearsighted(reach=40)", "run", "decoder tower"} <= set(proof.to_dataframe()["object"])
    vlm, inputs = page["vlm"], page["inputs"]
    assert vlm.run(inputs, page["clamp"]).verify()


def test_what_declares_its_reach_is_computed_in_part(page: dict[str, Any]) -> None:
    vlm, inputs, some = page["vlm"], page["inputs"], page["some"]
    assert page["plan"].to_dataframe()["why"].tolist() == ["Clamp does not say what it touches"]
    plan = page["sweep"].plan.to_dataframe()
    assert not plan["why"].any() and (plan["passes"] < 0.9).all()
    for name, objects in page["conditions"].items():
        run, cell = vlm.run(inputs, *objects, some), page["sweep"][name]
        torch.testing.assert_close(cell.logits, run.logits[:, -1], rtol=0, atol=1e-4)
        assert list(cell[some].values()) == pytest.approx(list(run[some].values()), rel=1e-5)


def test_an_experiment_of_ones_own_runs_like_those_that_ship(page: dict[str, Any]) -> None:
    hidden = page["hidden"]
    table = hidden.to_dataframe().set_index("hidden from")
    assert table.loc["text", "high"] < table.loc["last", "low"], "the answer is read through the question's words"
    assert (table["n"] == 10).all()
    assert hidden.compared.n_conditions == 2 and hidden.compared.deviation < 1e-5


def test_an_experiment_cannot_take_the_name_of_one_that_ships(page: dict[str, Any]) -> None:
    class Other(page["HiddenObject"]):  # type: ignore[misc, name-defined]
        name = "attention-blocking"

    with pytest.raises(InputError, match="another than"):
        page["add_experiment"](Other())
