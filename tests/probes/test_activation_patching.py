"""The grid of patches is transformer_lens's own, and a plain loop over regions, heads and towers.

Of each cell only some rows are computed, several cells' side by side: values are those of a run of its own up to the
rounding of fp32, which the metric here sums over 500 logits.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformer_lens import patching

from tests.model.tiny_vlms import tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.probes.held_to_a_loop import assert_near, grid_of, metric
from tests.tiny_models import IMAGE
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import (
    ActivationPatch,
    ActivationPatching,
    AttentionKnockout,
    Except,
    HookedVLM,
    Inputs,
    LogitDifference,
    LogProbability,
    Probability,
)
from vlm_lens.errors import ActivationError, EmptySelectionError, HookError, InputError, PositionError, VlmLensError
from vlm_lens.plotting.patching_heatmaps import patching_heatmaps


@pytest.fixture
def vlm() -> HookedVLM:
    return tiny_vlm()


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm)


@pytest.fixture
def other(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm, seed=1)


BY_POSITION = {
    "resid_pre": patching.get_act_patch_resid_pre,
    "resid_mid": patching.get_act_patch_resid_mid,
    "attn_out": patching.get_act_patch_attn_out,
    "mlp_out": patching.get_act_patch_mlp_out,
}
BY_HEAD = {
    "z": patching.get_act_patch_attn_head_out_all_pos,
    "q": patching.get_act_patch_attn_head_q_all_pos,
    "k": patching.get_act_patch_attn_head_k_all_pos,
    "v": patching.get_act_patch_attn_head_v_all_pos,
    "pattern": patching.get_act_patch_attn_head_pattern_all_pos,
}


def of_transformer_lens(patch: Callable[..., Tensor], vlm: HookedVLM, inputs: Any, cache: Any) -> np.ndarray:
    with torch.no_grad():
        return patch(vlm, inputs, cache, metric).numpy()


@pytest.mark.parametrize("kind, has_pictures", [("resid_pre", True), *((kind, False) for kind in BY_POSITION)])
def test_by_position_it_is_transformer_lens(vlm: HookedVLM, kind: str, has_pictures: bool) -> None:
    if has_pictures:
        corrupted: Any = tiny_inputs(vlm)
        clean = vlm.as_inputs({**corrupted, "pixel_values": corrupted["pixel_values"].flip(-1) * 2})
    else:
        clean, corrupted = torch.randint(300, 500, (2, 2, 5))
    source = vlm.run(clean, names_filter=lambda name: name.endswith(f"hook_{kind}"))
    grid = grid_of(vlm, corrupted, ActivationPatching(source, metric, kind=kind, shows_progress=False))
    expected = of_transformer_lens(BY_POSITION[kind], vlm, corrupted, source.cache)
    assert grid.axes == ("layer", "position") and grid.values.shape == (2, corrupted.shape[-1])
    assert_near(grid.values, expected)
    assert np.ptp(grid.values) > 1e-3


@pytest.mark.parametrize("kind", BY_HEAD)
def test_by_head_it_is_transformer_lens(vlm: HookedVLM, inputs: Inputs, other: Inputs, kind: str) -> None:
    source = vlm.run(other, names_filter=lambda name: name.endswith(f"hook_{kind}"))
    patch = ActivationPatching(source, metric, {"everywhere": slice(None)}, kind, heads="each", shows_progress=False)
    grid = grid_of(vlm, inputs, patch)
    expected = of_transformer_lens(BY_HEAD[kind], vlm, inputs, source.cache)
    assert grid.axes == ("layer", "position", "head")
    n_heads = expected.shape[1]
    assert_near(grid.values[:, 0, :n_heads], expected)
    assert np.isnan(grid.values[:, 0, n_heads:]).all()  # fewer heads of keys than of queries


def test_heads_by_position_are_transformer_lens(vlm: HookedVLM) -> None:
    clean, corrupted = torch.randint(300, 500, (2, 2, 3))
    source = vlm.run(clean, names_filter=lambda name: name.endswith("hook_z"))
    grid = grid_of(vlm, corrupted, ActivationPatching(source, metric, kind="z", heads="each", shows_progress=False))
    expected = of_transformer_lens(patching.get_act_patch_attn_head_out_by_pos, vlm, corrupted, source.cache)
    assert_near(grid.values, expected)


def test_groups_are_patched_together_by_name(vlm: HookedVLM, inputs: Inputs) -> None:
    """A source of another length and one row; groups by role, region and number; both by our own loop of writes."""
    other = vlm.as_inputs(new_mapping(tiny_checkpoint(), [(5, IMAGE, 9)], seed=3))
    source = vlm.run(other, names_filter=lambda name: name.endswith(("hook_resid_pre", "hook_mlp_out")))
    region = [inputs.layout.patches(rows=1, row=row) for row in range(2)]
    groups = {"picture": "image", "row of patches": region, "end": -1, "word": "last"}
    patch = ActivationPatching(
        source, metric, groups, ["resid_pre", "mlp_out"], source_positions={"word": 7, "end": "last"},
        shows_progress=False,
    )  # fmt: skip
    grid = grid_of(vlm, inputs, patch)
    assert grid.axes == ("kind", "layer", "position") and grid.values.shape == (2, 2, 4)
    picture = [row.nonzero().flatten().tolist() for row in inputs.input_ids == inputs.input_ids[0, 2]]
    theirs = (other.input_ids[0] == inputs.input_ids[0, 2]).nonzero().flatten().tolist()
    last, n_cols = inputs.shape[1] - 1, inputs.layout.image_span().grid.n_cols
    places = {
        "picture": ([(row, p) for row in range(2) for p in picture[row]], theirs * 2),
        "row of patches": (
            [(row, p) for row in range(2) for p in picture[row][n_cols : 2 * n_cols]],
            theirs[n_cols : 2 * n_cols] * 2,
        ),
        "end": ([(0, last), (1, last)], [other.shape[1] - 1] * 2),
        "word": ([(0, last), (1, last)], [7] * 2),
    }
    for kind, ending in enumerate(["hook_resid_pre", "hook_mlp_out"]):
        for layer in range(2):
            for group, (mine, from_there) in enumerate(places.values()):
                name = f"blocks.{layer}.{ending}"

                def write(value: Tensor, hook: Any, mine: Any = mine, from_there: Any = from_there) -> Tensor:
                    value = value.clone()
                    for (row, position), there in zip(mine, from_there, strict=True):
                        value[row, position] = source.cache[hook.name][0, there]
                    return value

                with torch.no_grad():
                    expected = metric(vlm.run_with_hooks(inputs, fwd_hooks=[(name, write)]))
                assert_near(grid.values[kind, layer, group], expected.item())


def test_the_vision_tower_has_a_grid_of_its_own(vlm: HookedVLM, inputs: Inputs, other: Inputs) -> None:
    source = vlm.run(other, names_filter=lambda name: name.startswith("vision.") and name.endswith("resid_pre"))
    patch = ActivationPatching(source, metric, ["cls", "patches", "all"], layers=[0, 1], tower="vision")
    grid = grid_of(vlm, inputs, replace(patch, shows_progress=False))
    swapped = vlm.as_inputs({**inputs, "pixel_values": other["pixel_values"]})
    whole = metric(vlm.run(swapped).logits).item()
    np.testing.assert_allclose(grid.values[:, 2], whole, rtol=1e-4)
    assert len(set(grid.values.ravel().tolist())) >= 4
    each = grid_of(vlm, inputs, replace(patch, positions=None, layers=0, shows_progress=False))
    assert each.values.shape == (1, 1 + inputs.layout.image_span().grid.n_patches)
    alone = vlm.run(inputs, ActivationPatch(source, "vision.blocks.0.hook_resid_pre", 5)).logits
    assert_near(each.values[0, 5], metric(alone).item())


def test_metrics_of_answers_are_those_of_the_last_prompt_position(
    vlm: HookedVLM, inputs: Inputs, other: Inputs
) -> None:
    hook = "blocks.1.hook_resid_pre"
    source = vlm.run(other, names_filter=hook)
    last = vlm.run(inputs, ActivationPatch(source, hook, "image")).logits[:, -1]
    unpatched, clean = vlm.run(inputs).logits[:, -1], source.logits[:, -1]
    probabilities = lambda logits: logits.exp() / logits.exp().sum(dim=-1, keepdim=True)  # noqa: E731
    by_hand: list[tuple[Any, Callable[[Tensor], Tensor]]] = [
        (LogitDifference(400, 401), lambda logits: logits[:, 400] - logits[:, 401]),
        (LogitDifference([400, 410], 401), lambda logits: (logits[:, 400] + logits[:, 410]) / 2 - logits[:, 401]),
        (LogitDifference(400), lambda logits: logits[:, 400]),
        (LogitDifference({0: 400, 1: 402}, 401), lambda x: torch.stack((x[0, 400] - x[0, 401], x[1, 402] - x[1, 401]))),
        (Probability(400), lambda logits: probabilities(logits)[:, 400]),
        (Probability([400, 410]), lambda logits: probabilities(logits)[:, [400, 410]].sum(dim=-1)),
        (LogProbability(400), lambda logits: probabilities(logits)[:, 400].log()),
    ]
    for answer, expected in by_hand:
        patch = ActivationPatching(source, answer, ["image"], layers=1, shows_progress=False)
        grid = grid_of(vlm, inputs, patch)
        assert grid.axes == ("layer", "position", "row")
        np.testing.assert_allclose(grid.values[0, 0], expected(last), rtol=2e-4)
        np.testing.assert_allclose(grid.corrupted, expected(unpatched), rtol=2e-4)
        assert grid.clean is not None
        np.testing.assert_allclose(grid.clean, expected(clean), rtol=2e-4)
        share = (expected(last) - expected(unpatched)) / (expected(clean) - expected(unpatched))
        np.testing.assert_allclose(grid.recovered[0, 0], share, rtol=5e-3, atol=1e-4)


def test_the_whole_stream_recovers_everything(vlm: HookedVLM, inputs: Inputs, other: Inputs) -> None:
    names = "blocks.0.hook_resid_pre", "blocks.1.hook_resid_pre"
    source = vlm.run(other, names_filter=names)
    patch = ActivationPatching(source, LogitDifference(400, 401), ["all"], shows_progress=False)
    np.testing.assert_allclose(grid_of(vlm, inputs, patch).recovered, 1.0, atol=1e-5)
    itself = replace(patch, source=vlm.run(inputs, names_filter=names))
    grid = grid_of(vlm, inputs, itself)
    np.testing.assert_allclose(grid.values[0, 0], grid.corrupted, atol=1e-6)
    with pytest.raises(InputError, match="a source that differs"):
        _ = grid.recovered
    of_cache = grid_of(vlm, inputs, replace(patch, source=source.cache))
    assert of_cache.clean is None
    with pytest.raises(InputError, match="Give the run itself"):
        _ = of_cache.recovered


def test_writers_before_it_are_in_force_in_every_cell(vlm: HookedVLM, inputs: Inputs, other: Inputs) -> None:
    hook, knockout = "blocks.0.hook_resid_pre", AttentionKnockout("last", "image", layers=[1])
    source = vlm.run(other, names_filter=hook)
    patch = ActivationPatching(source, metric, ["image", "last"], layers=0, shows_progress=False)
    run = vlm.run(inputs, knockout, patch)
    for place, group in enumerate(["image", "last"]):
        expected = metric(vlm.run(inputs, knockout, ActivationPatch(source, hook, group)).logits)
        assert_near(run[patch].values[0, place], expected.item())
    assert run[patch].corrupted == metric(vlm.run(inputs, knockout).logits).item()
    assert torch.equal(run.logits, vlm.run(inputs, knockout).logits)


def test_groups_that_do_not_occur_are_refused_or_left_blank(vlm: HookedVLM, inputs: Inputs, other: Inputs) -> None:
    source = vlm.run(other, names_filter=lambda name: name.endswith("hook_resid_pre"))
    patch = ActivationPatching(source, metric, ["image", "newline"], shows_progress=False)
    with pytest.raises(EmptySelectionError, match="positions of"):
        vlm.run(inputs, patch)
    grid = grid_of(vlm, inputs, replace(patch, on_empty="skip"))
    assert np.isnan(grid.values[:, 1]).all() and np.isfinite(grid.values[:, 0]).all()
    nothing = replace(patch, positions=["newline"], on_empty="skip")
    assert vlm.run(inputs, nothing)[nothing] is None


def test_what_is_no_metric_is_refused_at_once(vlm: HookedVLM, other: Inputs) -> None:
    source = vlm.run(other, names_filter="blocks.0.hook_resid_pre")
    for given in (" Yes", 400, None, LogitDifference):
        with pytest.raises(InputError, match="metric of ActivationPatching: expected a metric or a function of logits"):
            ActivationPatching(source, given)


def test_groups_in_a_list_keep_apart(vlm: HookedVLM, inputs: Inputs, other: Inputs) -> None:
    source = vlm.run(other, names_filter="blocks.0.hook_resid_pre")
    rows = [inputs.layout.patches(rows=number) for number in range(2)]  # of one size, so of one name
    named = ActivationPatching(source, metric, dict(zip("ab", rows, strict=True)), layers=0, shows_progress=False)
    assert grid_of(vlm, inputs, named).positions == ("a", "b")
    mask = np.zeros(inputs.shape, dtype=bool)
    mask[:, -1] = True
    listed = replace(named, positions=[*rows, "last", mask, mask, "last"])
    found, n = grid_of(vlm, inputs, listed), len(rows[0])
    numbered = (f"{n} patches (1)", f"{n} patches (2)", "last (1)", "mask of 2 (1)", "mask of 2 (2)", "last (2)")
    assert found.positions == numbered and found.values.shape == (1, 6)
    assert_near(found.values[:, :2], grid_of(vlm, inputs, named).values)
    assert len({round(value, 3) for value in found.values[0, 2:]}) == 1
    assert len({round(value, 3) for value in found.values[0]}) == 3
    whole = replace(named, positions=mask[0].tolist())
    assert_near(grid_of(vlm, inputs, whole).values, found.values[:, 2:3])
    single = replace(named, positions=Except("image", but=rows[0]))
    assert grid_of(vlm, inputs, single).values.shape == (1, 1)


def test_the_other_spelling_of_an_answer_is_pointed_at() -> None:
    demo = HookedVLM.demo()
    black, white = (
        demo.prepare(np.full((192, 192, 3), shade, dtype=np.uint8), "Is there a cat in this image?")
        for shade in (0, 255)
    )
    source = demo.run(white, names_filter="blocks.0.hook_resid_pre")
    patching = ActivationPatching(source, LogitDifference(" No", " Yes"), ["last"], layers=0, shows_progress=False)
    demo.run(black, patching)  # warnings are errors
    for answer, said in ((LogitDifference(" No", "Yes"), " Yes"), (Probability("No"), " No")):
        with pytest.warns(UserWarning, match=f"The model says '{said}' rather than '{said[1:]}'"):
            demo.run(black, replace(patching, metric=answer))


def test_what_cannot_be_patched_is_refused_before_the_model_runs(
    vlm: HookedVLM, inputs: Inputs, other: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = vlm.run(other, names_filter=lambda name: name.endswith(("hook_resid_pre", "hook_z")))
    good = ActivationPatching(source, Probability(400), ["image"], shows_progress=False)
    longer = vlm.as_inputs(new_mapping(tiny_checkpoint(), [(5, IMAGE, 9)], seed=3))
    of_longer = vlm.run(longer, names_filter=lambda name: name.endswith("hook_resid_pre"))
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        (dict(kind="mlp_out"), ActivationError, r"names_filter=\['blocks.0.hook_mlp_out', 'blocks.1.hook_mlp_out'\]"),
        (dict(kind="rsid_pre"), HookError, "Did you mean"),
        (dict(heads="each"), HookError, "kinds that tell heads apart: z, q, k, v, pattern, got resid_pre"),
        (dict(heads=[4], kind="z"), HookError, "heads from 0 to 3, got 4"),
        (dict(layers=[2]), EmptySelectionError, "layers from 0 to 1"),
        (dict(metric=Probability(None)), InputError, "expected a token"),
        (dict(metric=Probability(9999)), InputError, "an id from 0 to 499"),
        (dict(metric=Probability({0: 400})), PositionError, "rows from 0 to 1|each row"),
        (dict(source=of_longer, positions=None), PositionError, "as many positions in the source as here|24"),
        (dict(source_positions={"imag": "image"}), InputError, "expected groups of positions: image, got imag"),
        (dict(tower="text"), HookError, "Tower does not exist"),
    ]
    monkeypatch.setattr(type(vlm.vision), "forward", lambda *_: pytest.fail("the model ran"))
    for change, error, message in cases:
        with pytest.raises(error, match=message):
            vlm.run(inputs, replace(good, **change))
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"one number, or one a row, got shape \[2, 24\]"):
        vlm.run(inputs, replace(good, metric=lambda logits: logits[..., 0]))
    with pytest.raises(VlmLensError, match="cannot measure"), vlm.attach(good):
        vlm(inputs)


def test_a_grid_becomes_a_frame_and_a_figure(vlm: HookedVLM, inputs: Inputs, other: Inputs) -> None:
    source = vlm.run(other, names_filter=lambda name: name.endswith(("hook_z", "hook_v", "hook_attn_out")))
    by_head = ActivationPatching(
        source, LogitDifference(400, 401), ["image", "last"], ["z", "v"], heads=[0, 3], shows_progress=False
    )
    grid = grid_of(vlm, inputs, by_head)
    frame = grid.to_dataframe()
    assert len(frame) == 2 * 2 * 2 * 2 * 2
    one = frame.query("kind == 'z' and layer == 1 and position == 'last' and head == 3 and row == 1")
    assert one["value"].item() == grid.values[0, 1, 1, 1, 1]
    assert one["recovered"].item() == pytest.approx(grid.recovered[0, 1, 1, 1, 1])
    figure = grid.plot()
    assert [panel.text for panel in figure.layout.annotations] == ["z, image", "z, last", "v, image", "v, last"]
    gap = (grid.clean - grid.corrupted).mean() if grid.clean is not None else np.nan
    expected = (grid.values[0, :, 1].mean(axis=-1) - grid.corrupted.mean()) / gap
    np.testing.assert_allclose(np.array(figure.data[1].z), expected)
    assert "2 kinds x 2 layers x 2 positions x 2 heads x 2 rows" in repr(grid)

    raw = grid_of(vlm, inputs, replace(by_head, metric=metric, kind="attn_out", heads=None)).plot(is_normalised=False)
    assert list(raw.data[0].x) == [0, 1] and raw.layout.xaxis.ticktext == ("image", "last")
    middle = (raw.layout.coloraxis.cmin + raw.layout.coloraxis.cmax) / 2
    assert middle == pytest.approx(metric(vlm.run(inputs).logits).item())


def test_a_measure_says_what_it_is(vlm: HookedVLM, other: Inputs) -> None:
    filters = [lambda name: name.endswith("resid_pre"), lambda name: name.endswith(("resid_pre", "hook_z"))]
    one, more = (
        ActivationPatching(vlm.run(other, names_filter=names), Probability(400), ["image"]) for names in filters
    )
    assert one.fingerprint() == more.fingerprint() == replace(more, name="grid").fingerprint()
    assert one.fingerprint() != replace(one, metric=LogProbability(400)).fingerprint()
    assert "metric=Probability(400), positions=['image']" in repr(one)


def test_a_row_whose_answer_is_the_sources_has_no_share(vlm: HookedVLM, inputs: Inputs, other: Inputs) -> None:
    source = vlm.run(other, names_filter="blocks.*.hook_resid_pre")
    patching = ActivationPatching(source, LogitDifference(40, 77), ["last", "image"], shows_progress=False)
    grid = grid_of(vlm, inputs, patching)
    assert grid.clean is not None
    same = replace(grid, clean=np.array([grid.corrupted[0], grid.clean[1]]))
    assert np.isnan(same.recovered[..., 0]).all()
    np.testing.assert_array_equal(same.recovered[..., 1], grid.recovered[..., 1])
    frame = same.to_dataframe()
    assert frame[frame.row == 0].recovered.isna().all() and frame[frame.row == 1].recovered.notna().all()
    with pytest.raises(InputError, match="a source that differs"):
        _ = replace(grid, clean=grid.corrupted).recovered


def test_a_source_of_zero_is_known() -> None:
    panels = {"kind": np.array([[2.0, 2.1]])}
    scale = patching_heatmaps(panels, ["0"], ["a", "b"], corrupted=2.0, clean=0.0).layout.coloraxis
    assert (scale.cmin, scale.cmax) == (0.0, 4.0)
