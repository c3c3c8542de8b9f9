"""The shares of attention are those of plain transformers, in both towers, under knockouts and under generation."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.interventions.plain_transformers import Plain, edges
from tests.model.tiny_vlms import FAMILIES, new_mapping, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import IMAGE, N_PATCHES, new_clip, random_pixels
from vlm_lens import AttentionFlow, AttentionKnockout, Except, FlowReading, HookedCLIP, HookedVLM, Inputs
from vlm_lens.errors import EmptySelectionError, HookError, InputError, PositionError

# The pattern is computed in fp32 from equal weights; rounding alone differs, some 1e-6 after two layers.
CLOSE = 1e-5


@pytest.fixture
def vlm() -> HookedVLM:
    return tiny_vlm()


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm)


def mapping_of(inputs: Inputs) -> dict[str, Tensor]:
    return {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}


def patterns_of(family: str, inputs: Inputs, blocked: Any = ()) -> dict[tuple[str, int], np.ndarray]:
    """What plain transformers attends to, `[batch head query_pos key_pos]` for each tower and layer."""
    plain = Plain(tiny_checkpoint(family))
    with torch.no_grad():
        plain.logits(mapping_of(inputs), blocked)
    return {place: pattern.numpy() for place, pattern in plain.patterns.items()}


def assert_shares_are(reading: FlowReading, patterns: Any, tower: str, keys_of: Any, heads: Any = None) -> None:
    """Every share is a sum over the group's keys, taken one number at a time.

    Args:
        reading: what was found.
        patterns: see `patterns_of`.
        tower: which.
        keys_of: for (group, row) the key positions.
        heads: the heads averaged over, where they were.
    """
    for place, layer in enumerate(reading.layers):
        pattern = patterns[tower, layer]
        for query, (row, position) in enumerate(zip(reading.rows.tolist(), reading.positions.tolist(), strict=True)):
            for head in range(reading.shares.shape[2]):
                of_heads = heads or range(pattern.shape[1]) if reading.heads is None else [reading.heads[head]]
                for number, group in enumerate(reading.groups):
                    keys = [key for key in keys_of(group, row) if key < pattern.shape[3]]
                    expected = sum(float(pattern[row, one, position, key]) for one in of_heads for key in keys)
                    got = float(reading.shares[place, query, head, number])
                    assert abs(got - expected / len(list(of_heads))) <= CLOSE, (layer, row, position, group)


def assert_sums_to_one(reading: FlowReading) -> None:
    torch.testing.assert_close(reading.shares.sum(dim=-1), torch.ones(reading.shares.shape[:-1]), atol=CLOSE, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("keeps", ["mean", "heads"])
def test_shares_equal_plain_transformers(family: str, keeps: Any) -> None:
    vlm = tiny_vlm(family)
    inputs = tiny_inputs(vlm)
    flow = AttentionFlow(["last", 20, 21], keeps=keeps)
    reading = vlm.run(inputs, flow)[flow]
    layout = inputs.layout
    assert list(zip(reading.rows.tolist(), reading.positions.tolist(), strict=True)) == [
        (row, position) for row in (0, 1) for position in sorted({20, 21, *layout.positions("last", row)})
    ]
    assert_shares_are(reading, patterns_of(family, inputs), "decoder", layout.positions)
    assert_sums_to_one(reading)
    assert set(reading.groups) == set(layout.roles(0)) - {"pad"}


def test_some_heads_in_some_layers_are_their_mean(vlm: HookedVLM, inputs: Inputs) -> None:
    flow = AttentionFlow("last", layers=[1], heads=[0, 3])
    reading = vlm.run(inputs, flow)[flow]
    assert reading.layers == (1,) and reading.heads is None
    keys = inputs.layout.positions
    assert_shares_are(reading, patterns_of("grouped heads", inputs), "decoder", keys, heads=[0, 3])


def test_shares_in_the_vision_tower_equal_plain_transformers(vlm: HookedVLM, inputs: Inputs) -> None:
    flow = AttentionFlow(["cls", 3], tower="vision", keeps="heads")
    reading = vlm.run(inputs, flow)[flow]
    assert reading.groups == ("cls", "patches")
    keys = {"cls": [0], "patches": range(1, N_PATCHES + 1)}
    assert_shares_are(reading, patterns_of("grouped heads", inputs), "vision", lambda group, row: keys[group])
    assert_sums_to_one(reading)
    maps = patterns_of("grouped heads", inputs)["vision", 1][1, :, 0, 1:].mean(axis=0)
    found = reading.at("cls").map(row=1)
    np.testing.assert_allclose(found.values[1].flatten(), maps, atol=CLOSE)


def test_both_towers_of_clip_are_read() -> None:
    checkpoint = new_clip()
    clip, plain = HookedCLIP.from_hf(checkpoint), Plain(checkpoint)
    pixels, flow, text = random_pixels(2), AttentionFlow("cls", tower="vision"), AttentionFlow("last", tower="text")
    with torch.no_grad():
        plain.image_embeds(pixels)
    tokens = torch.randint(20, 400, (2, 7), generator=torch.Generator().manual_seed(0))
    tokens[:, -1] = 499  # the end token, where the text is read
    run = clip.run({"pixel_values": pixels, "input_ids": tokens}, flow, text)
    patterns = {place: pattern.numpy() for place, pattern in plain.patterns.items()}
    keys = {"cls": [0], "patches": range(1, N_PATCHES + 1)}
    assert_shares_are(run[flow], patterns, "vision", lambda group, row: keys[group])
    assert_sums_to_one(run[text])


@torch.no_grad()
def test_shares_equal_the_eager_attentions_of_the_bundled_checkpoint() -> None:
    vlm = HookedVLM.demo()
    from transformers import LlavaForConditionalGeneration

    from vlm_lens.demo import vlm_folder
    from vlm_lens.demo.examples import example_scenes

    example = example_scenes()[0]
    inputs = vlm.prepare(example.scene.image, example.turn.question)
    assert example.subject is not None
    cat = inputs.layout.region(example.subject.mask)
    eager = LlavaForConditionalGeneration.from_pretrained(
        vlm_folder(), attn_implementation="eager", dtype=torch.float32
    )
    attentions = eager(**mapping_of(inputs), output_attentions=True).attentions
    flow = AttentionFlow("all", {"cat": cat, "text": "text"})
    reading = vlm.run(inputs, flow)[flow]
    assert reading.groups == ("cat", "text", "other")
    assert_sums_to_one(reading)
    others = sorted(set(inputs.layout.positions("image")) - set(cat.positions))
    for layer, pattern in enumerate(attentions):
        mean = pattern[0].mean(dim=0)
        for number, keys in enumerate((cat.positions, inputs.layout.positions("text"), others)):
            expected = mean[:, list(keys)].sum(dim=-1)
            torch.testing.assert_close(reading.shares[layer, :, 0, number], expected, atol=CLOSE, rtol=0)


def test_reading_changes_no_bit(vlm: HookedVLM, inputs: Inputs) -> None:
    readers = [AttentionFlow("all", keeps="heads"), AttentionFlow("patches", tower="vision")]
    assert torch.equal(vlm.run(inputs, *readers).logits, vlm.run(inputs).logits)
    options = dict(max_new_tokens=4, eos_token_id=())
    assert torch.equal(vlm.generate(inputs, *readers, **options).logits, vlm.generate(inputs, **options).logits)


def test_knockouts_are_in_force_before_it_reads(vlm: HookedVLM, inputs: Inputs) -> None:
    patches = [inputs.layout.patches(rows=0, row=row) for row in (0, 1)]
    cuts = [
        AttentionKnockout("predicting", patches, heads=[1]),
        AttentionKnockout("predicting", "bos", layers=1, on_empty="skip"),
        AttentionKnockout("cls", "last_row", tower="vision"),
    ]
    flow = AttentionFlow(groups={"cut": patches}, keeps="heads")
    tower = AttentionFlow("cls", {"row": "last_row"}, tower="vision")
    run = vlm.run(inputs, *cuts, flow, tower)
    blocked = set()
    for row in (0, 1):
        last, layout = inputs.layout.positions("last", row), inputs.layout
        blocked |= edges("decoder", [0, 1], [1], row, last, patches[row].positions)
        blocked |= edges("decoder", [1], range(4), row, last, layout.positions("bos", row))
        blocked |= edges("vision", range(3), range(2), row, [0], range(N_PATCHES - 3, N_PATCHES + 1))
    patterns = patterns_of("grouped heads", inputs, blocked)
    rest = [sorted(set(inputs.layout.positions("all", row)) - set(patches[row].positions)) for row in (0, 1)]
    assert_shares_are(run[flow], patterns, "decoder",
                      lambda group, row: patches[row].positions if group == "cut" else rest[row])  # fmt: skip
    assert bool((run[flow].shares[:, :, 1, 0] == 0).all()) and bool((run[flow].shares[:, :, 0, 0] > 0).all())
    assert bool((run[tower].shares[..., 0] == 0).all())
    assert_sums_to_one(run[flow])
    assert_sums_to_one(run[tower])


def test_a_generation_gives_the_attention_of_the_whole_sequence(vlm: HookedVLM, inputs: Inputs) -> None:
    flow = AttentionFlow(keeps="heads")
    run = vlm.generate(inputs, flow, max_new_tokens=5, eos_token_id=())
    reading = run[flow]
    tokens = torch.cat((inputs.input_ids, run.tokens[:, :-1]), dim=1)
    mask = torch.cat((inputs.attention_mask, torch.ones_like(run.tokens[:, :-1])), dim=1)
    plain = Plain(tiny_checkpoint())
    with torch.no_grad():
        plain.logits({"input_ids": tokens, "attention_mask": mask, "pixel_values": inputs["pixel_values"]})
    patterns = {place: pattern.numpy() for place, pattern in plain.patterns.items()}
    assert_shares_are(reading, patterns, "decoder", run.layout.positions)
    assert_sums_to_one(reading)
    n_prompt = inputs.shape[1]
    assert reading.rows.tolist() == [0] * 5 + [1] * 5
    assert reading.positions.tolist() == [n_prompt - 1, *range(n_prompt, n_prompt + 4)] * 2
    assert reading.steps.tolist() == [0, 1, 2, 3, 4] * 2
    generated = reading.groups.index("generated")
    assert bool((reading.shares[:, reading.steps == 0, :, generated] == 0).all())
    uncached = vlm.generate(inputs, flow, max_new_tokens=5, eos_token_id=(), use_cache=False)[flow]
    torch.testing.assert_close(uncached.shares, reading.shares, atol=CLOSE, rtol=0)
    torch.testing.assert_close(uncached.maps, reading.maps, atol=CLOSE, rtol=0)
    assert torch.equal(uncached.steps, reading.steps)


def test_rows_after_a_rows_end_are_left_out(vlm: HookedVLM, inputs: Inputs) -> None:
    flow, options = AttentionFlow(), dict(max_new_tokens=6)
    free = vlm.generate(inputs, eos_token_id=(), **options).tokens
    end = int(free[0, 2])
    run = vlm.generate(inputs, flow, eos_token_id=end, **options)
    reading = run[flow]
    for row in (0, 1):
        tokens = free[row].tolist()
        n_run = tokens.index(end) if end in tokens else 5  # a row's last token predicts nothing
        assert reading.steps[reading.rows == row].tolist() == list(range(n_run + 1))
    assert set(reading.groups) >= {"image", "generated"} and "pad" not in reading.groups
    assert_sums_to_one(reading)


def test_groups_in_a_list_are_called_what_they_say(vlm: HookedVLM, inputs: Inputs) -> None:
    region = inputs.layout.patches(rows=0)
    listed, named = AttentionFlow(groups=[region, "question"]), AttentionFlow(groups={"a": region, "b": "question"})
    single = AttentionFlow(groups="image")
    run = vlm.run(inputs, listed, named, single)
    assert run[listed].groups == (f"{len(region)} patches", "question", "other") and run[single].groups == (
        "image",
        "other",
    )
    assert torch.equal(run[listed].shares, run[named].shares)


def test_a_named_tokens_attention_is_that_of_its_own_row(vlm: HookedVLM, inputs: Inputs) -> None:
    flow = AttentionFlow("all")
    reading = vlm.run(inputs, flow)[flow].at({1: [22, 23]})
    mean = patterns_of("grouped heads", inputs)["decoder", 1][1, :, 22:24].mean(axis=(0, 1))
    span = inputs.layout.image_span(row=1)
    expected = mean[span.patch_positions.start : span.patch_positions.stop]
    np.testing.assert_allclose(reading.map(row=1).values[1].flatten(), expected, atol=CLOSE)
    assert bool(reading.image_attention[0].isnan().all())
    np.testing.assert_allclose(reading.image_attention[1, 1], expected, atol=CLOSE)
    with pytest.raises(PositionError, match="a row with queries"):
        reading.map(row=0)
    with pytest.raises(EmptySelectionError, match="some of those that were read"):
        reading.at({0: [22]})


def test_pictures_of_a_row_have_a_map_each_and_missing_ones_are_nan(vlm: HookedVLM) -> None:
    inputs = vlm.as_inputs(new_mapping(tiny_checkpoint(), [(2, IMAGE, 3, IMAGE, 2), (1, IMAGE, 4), (9,)]))
    flow = AttentionFlow(keeps="heads")
    reading = vlm.run(inputs, flow)[flow]
    ranking = reading.image_attention
    assert ranking.shape == (3, 2, 2 * N_PATCHES)
    assert not bool(ranking[0].isnan().any()) and bool(ranking[2].isnan().all())
    assert not bool(ranking[1, :, :N_PATCHES].isnan().any()) and bool(ranking[1, :, N_PATCHES:].isnan().all())
    patterns = patterns_of("grouped heads", inputs)
    for row, image in ((0, 0), (0, 1), (1, 0)):
        span = inputs.layout.image_span(image, row)
        expected = patterns["decoder", 0][row, :, -1, span.start : span.stop].mean(axis=0)
        np.testing.assert_allclose(reading.map(image, row).values[0].flatten(), expected, atol=CLOSE)
    with pytest.raises(PositionError, match="Picture does not exist"):
        reading.map(image=1, row=1)


def test_a_region_is_told_apart_from_the_rest_of_its_picture(vlm: HookedVLM, inputs: Inputs) -> None:
    region = inputs.layout.patches(rows=[0, 1])
    plain, apart = AttentionFlow(), AttentionFlow(groups={"object": region}, rest="roles")
    run = vlm.run(inputs, plain, apart)
    whole, parts = run[plain], run[apart]
    assert parts.groups[0] == "object" and "image: elsewhere" in parts.groups and "other" not in parts.groups
    assert [name for name in parts.groups[1:] if ":" not in name] == [name for name in whole.groups if name != "image"]
    both = parts.shares[..., 0] + parts.shares[..., parts.groups.index("image: elsewhere")]
    torch.testing.assert_close(both, whole.shares[..., whole.groups.index("image")])
    assert_sums_to_one(parts)


@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(groups={"a": "image", "b": "last_row"}), PositionError, "position .* of row 0 in 'a' and in 'b'"),
        (dict(groups={"a": "newline"}), EmptySelectionError, r"groups\['a'\] of .*got none for 'newline'"),
        (dict(groups={"a": "imagee"}), PositionError, "Did you mean 'image'"),
        (dict(groups={"a": {5: "image"}}), PositionError, r"groups\['a'\] of AttentionFlow.*expected rows from 0 to 1"),
        (dict(queries="generated"), EmptySelectionError, "queries of .*got none for 'generated'"),
        (dict(queries="predicting", tower="vision"), PositionError, "one of cls, patches"),
        (dict(heads=4), HookError, "heads from 0 to 3"),
        (dict(layers=2), EmptySelectionError, "layers from 0 to 1"),
        (dict(tower="text"), HookError, "Tower does not exist"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    vlm: HookedVLM, inputs: Inputs, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        vlm.run(inputs, AttentionFlow(**options))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(keeps="median"), "keeps to be 'mean' or 'heads'"),
        (dict(rest="none"), "rest to be"),
        (dict(groups={"other": "image"}), "groups without 'other'"),
    ],
)
def test_options_that_do_not_exist_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AttentionFlow(**options)


def test_an_empty_group_may_be_skipped_and_gets_nothing(vlm: HookedVLM, inputs: Inputs) -> None:
    none = inputs.layout.patches(rows=[])
    flow = AttentionFlow(groups={"registers": none}, on_empty="skip")
    reading = vlm.run(inputs, flow)[flow]
    assert reading.groups == ("registers", "other")
    assert bool((reading.shares[..., 0] == 0).all())
    assert_sums_to_one(reading)


def test_a_frame_has_one_row_a_share(vlm: HookedVLM, inputs: Inputs) -> None:
    flow, by_head = AttentionFlow(["last", 20]), AttentionFlow(keeps="heads")
    run = vlm.generate(inputs, flow, by_head, max_new_tokens=3, eos_token_id=())
    frame, reading = run[flow].to_dataframe(), run[flow]
    assert list(frame.columns) == ["row", "layer", "step", "position", "token", "group", "share"]
    assert len(frame) == reading.shares.numel()
    one = frame[(frame.row == 1) & (frame.layer == 1) & (frame.position == 20) & (frame.group == "image")]
    query = int(((reading.rows == 1) & (reading.positions == 20)).nonzero())
    assert float(one.share.iloc[0]) == float(reading.shares[1, query, 0, reading.groups.index("image")])
    heads = run[by_head].to_dataframe()
    assert sorted(heads["head"].unique()) == [0, 1, 2, 3] and sorted(heads.step.unique()) == [0, 1, 2]
    mean = reading.summary().set_index(["layer", "group"])
    expected = reading.shares[0, :, 0, reading.groups.index("image")].double()
    assert mean.loc[(0, "image"), "mean"] == pytest.approx(float(expected.mean()))
    assert mean.loc[(0, "image"), "std"] == pytest.approx(float(expected.std(correction=0)))


def test_heads_of_a_reading_are_chosen_by_number(vlm: HookedVLM, inputs: Inputs) -> None:
    flow, mean = AttentionFlow(heads=[1, 3], keeps="heads"), AttentionFlow()
    run = vlm.run(inputs, flow, mean)
    assert run[flow].heads == (1, 3)
    assert torch.equal(run[flow].at("all", heads=3).shares, run[flow].shares[:, :, [1]])
    with pytest.raises(HookError, match=r"heads that were kept \(1, 3\)"):
        run[flow].at("all", heads=[0])
    with pytest.raises(HookError, match="their mean"):
        run[mean].at("all", heads=[0])


def test_figures_carry_the_shares(vlm: HookedVLM, inputs: Inputs) -> None:
    flow, last = AttentionFlow("all"), AttentionFlow({0: "last"})
    run = vlm.run(inputs, flow, last)
    lines = [trace for trace in run[flow].plot().data if trace.fill is None]
    summary = run[flow].summary()
    for trace in lines:
        np.testing.assert_allclose(trace.y, summary[summary.group == trace.name]["mean"])
    bars = run[last].plot().data
    assert {trace.type for trace in bars} == {"bar"}
    np.testing.assert_allclose(sum(trace.y for trace in bars), 1, atol=CLOSE)
    assert len(run[flow].plot_map(region=inputs.layout.patches(rows=0)).frames) == 2
    assert "2 layers" in run[flow]._repr_html_() and "mean over heads" in repr(run[flow])


def test_positions_may_be_named_before_they_are_generated(vlm: HookedVLM, inputs: Inputs) -> None:
    third = inputs.shape[1] + 2
    flow, plain = AttentionFlow([third], {"itself": third, "second": third - 1}), AttentionFlow()
    run = vlm.generate(inputs, flow, plain, max_new_tokens=5, eos_token_id=())
    assert run[flow].positions.tolist() == [third, third]
    assert_sums_to_one(run[flow])
    torch.testing.assert_close(run[flow].maps, run[plain].at([third]).maps)


def test_attached_to_a_generation_it_reads_what_generate_reads(vlm: HookedVLM, inputs: Inputs) -> None:
    flow, options = AttentionFlow(), dict(max_new_tokens=6)
    end = int(vlm.generate(inputs, eos_token_id=(), **options).tokens[0, 2])
    with vlm.attach(flow) as attached:
        run = vlm.generate(inputs, eos_token_id=end, **options)
    inner = vlm.generate(inputs, flow, eos_token_id=end, **options)[flow]
    assert torch.equal(attached[flow].shares, inner.shares)
    assert attached[flow].tokens == inner.tokens and attached[flow].sequences is run.layout
    assert len(inner.rows) < 12  # a row ended before the other


def test_overlapping_groups_are_told_what_to_leave_out(vlm: HookedVLM, inputs: Inputs) -> None:
    object_ = inputs.layout.patches(rows=0)
    for groups in ({"object": object_, "picture": "image"}, {"picture": "image", "object": object_}):
        with pytest.raises(PositionError, match="'picture': Except\\('image', but=Region") as caught:
            vlm.run(inputs, AttentionFlow("last", groups))
        assert caught.value.advice.count("object") == 0
    apart = AttentionFlow("last", {"object": object_, "picture": Except("image", but=object_)})
    assert vlm.run(inputs, apart)[apart].groups == ("object", "picture", "other")


def test_positions_of_which_nothing_is_known_are_text(vlm: HookedVLM, inputs: Inputs) -> None:
    stream, flow = vlm(inputs, stop_at_layer=1), AttentionFlow("last")
    assert vlm.run(stream, flow, start_at_layer=1)[flow].groups == ("text",)
    assert "question" in vlm.run(inputs, flow)[flow].groups
