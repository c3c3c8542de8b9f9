"""Another run's activations, written here: as plain transformers gives them, matched by name on both sides."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.interventions.plain_transformers import Plain
from tests.model.tiny_vlms import FAMILIES, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.model.written_out import WrittenOut
from tests.tiny_models import IMAGE, IMAGE_TOKEN, N_PATCHES, new_clip, random_pixels
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import ActivationPatch, AttentionKnockout, HookedCLIP, HookedTransformer, HookedVLM, Inputs
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import ActivationError, EmptySelectionError, HookError, PositionError

RESID = "blocks.0.hook_resid_post"
OWN_INPUTS = ("hook_q_input", "hook_k_input", "hook_v_input", "hook_attn_in")

# One of our hooks, the place in plain transformers, and heads.
PLACES: dict[str, tuple[Any, list[int] | None]] = {
    "projector.hook_out": ("projector", None),
    "blocks.0.hook_resid_pre": ("embed", None),
    "blocks.0.hook_resid_post": (("decoder", "layer", 0), None),
    "blocks.1.hook_attn_out": (("decoder", "attn_out", 1), None),
    "blocks.0.hook_mlp_out": (("decoder", "mlp_out", 0), None),
    "blocks.0.attn.hook_z": (("decoder", "z", 0), [1, 3]),
    "vision.blocks.0.hook_resid_post": (("vision", "layer", 0), None),
    "vision.blocks.1.attn.hook_z": (("vision", "z", 1), [1]),
}


def longer_inputs(vlm: HookedVLM, n_rows: int = 1) -> Inputs:
    """Other prompts and pictures, longer than those of `tiny_inputs`."""
    rows = [(5, IMAGE, 9), (3, IMAGE, 12)][:n_rows]
    return vlm.as_inputs(new_mapping(tiny_checkpoint(), rows, seed=3))


def recorded(plain: Plain, place: Any, mapping: Any) -> Tensor:
    """An activation of plain transformers."""
    kept: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        kept.append(value)
        return value

    with torch.no_grad():
        plain.logits(mapping, edits={place: keep})
    return kept[0]


def copied(source: Tensor, pairs: list[tuple[int, int, int, int]], columns: slice) -> Callable[[Tensor], Tensor]:
    """An edit that copies (row, position) of the source, one by one, to (row, position) here."""

    def edit(value: Tensor) -> Tensor:
        for row, position, source_row, source_position in pairs:
            if position < value.shape[1]:
                value[row, position, columns] = source[source_row, source_position, columns]
        return value

    return edit


def image_columns(inputs: Inputs, row: int) -> list[int]:
    return (inputs.input_ids[row] == IMAGE_TOKEN).nonzero().flatten().tolist()


def patchable(vlm: HookedVLM) -> list[str]:
    """Every hook outside the layers, and those of each tower's first layer."""
    names = [name for name in vlm.hook_dict if ".ln_final" not in name and not name.endswith("hook_mask")]
    return [name for name in names if vlm.hook_dict[name].layer() in (None, 0)]


def off(ours: Tensor, expected: Tensor, is_real: Tensor | None = None) -> float:
    """The largest difference at real positions, in parts of the largest logit."""
    if is_real is not None:
        ours, expected = ours[is_real.bool()], expected[is_real.bool()]
    return float((ours - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("hook", PLACES)
@pytest.mark.parametrize("family", ["grouped heads", "sliding window"])
def test_a_patch_gives_the_logits_of_plain_transformers(family: str, hook: str) -> None:
    vlm, plain = tiny_vlm(family), Plain(tiny_checkpoint(family))
    inputs, other = tiny_inputs(vlm), longer_inputs(vlm, 2)
    place, heads = PLACES[hook]
    pairs = []
    for row in range(2):
        here, there = image_columns(inputs, row)[2:7], image_columns(other, row)[2:7]
        if hook.startswith(("vision", "projector")):
            here = there = [2 + hook.startswith("vision") + n for n in range(5)]  # the class token comes first
        pairs += [(row, mine, row, theirs) for mine, theirs in zip(here, there, strict=True)]
    d_head = 6 if hook.startswith("blocks") else 8
    columns = [slice(None)] if heads is None else [slice(head * d_head, (head + 1) * d_head) for head in heads]
    theirs = recorded(plain, place, other)

    def edit(value: Tensor) -> Tensor:
        for one in columns:
            value = copied(theirs, pairs, one)(value)
        return value

    with torch.no_grad():
        expected, clean = plain.logits(inputs, edits={place: edit}), plain.logits(inputs)
    grid = inputs.layout.image_span().grid
    is_chosen = torch.zeros(grid.n_patches, dtype=torch.bool)
    is_chosen[2:7] = True
    regions = [inputs.layout.patches(is_chosen.view(grid.shape), row=row) for row in range(2)]
    ours = vlm.run(inputs, ActivationPatch(vlm.run(other, names_filter=hook), hook, regions, heads=heads)).logits
    assert off(ours, expected, inputs.attention_mask) <= 1e-5
    assert off(ours, clean, inputs.attention_mask) > 1e-3


@pytest.mark.parametrize("name", ["k_proj", "v_proj"])
def test_keys_and_values_are_patched_by_key_head(vlm: HookedVLM, inputs: Inputs, name: str) -> None:
    plain, other = Plain(tiny_checkpoint()), tiny_inputs(vlm, seed=1)
    linear = getattr(tiny_checkpoint().model.language_model.layers[1].self_attn, name)
    kept: list[Tensor] = []
    handle = linear.register_forward_hook(lambda module, args, output: kept.append(output.clone()))
    with torch.no_grad():
        plain.logits(other)
    handle.remove()

    def swap(module: Any, args: Any, output: Tensor) -> Tensor:
        output = output.clone()
        for row in range(2):
            for position in image_columns(inputs, row):
                output[row, position, 6:12] = kept[0][row, position, 6:12]  # key head 1 of 2
        return output

    handle = linear.register_forward_hook(swap)
    with torch.no_grad():
        expected = plain.logits(inputs)
    handle.remove()
    hook = f"blocks.1.attn.hook_{name[0]}"
    patch = ActivationPatch(vlm.run(other, names_filter=hook), hook, "image", heads=1)
    ours = vlm.run(inputs, patch).logits
    assert off(ours, expected, inputs.attention_mask) <= 1e-5
    with pytest.raises(HookError, match="key heads"):
        vlm.run(inputs, replace(patch, heads=3))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_hook_can_be_patched(family: str) -> None:
    vlm, checkpoint = tiny_vlm(family), tiny_checkpoint(family)
    inputs, other = tiny_inputs(vlm), tiny_inputs(vlm, seed=1)
    names = patchable(vlm)
    if family != FAMILIES[0]:
        names = [name for name in names if name.startswith("blocks.0.attn.")]  # where the families differ
    source = vlm.run(other, names_filter=names)
    is_real, wrong = inputs.attention_mask.bool(), {}
    kept: dict[bool, dict[str, Tensor]] = {False: {}, True: {}}
    with torch.no_grad():
        for splits, found in kept.items():

            def record(seen: str, value: Tensor, found: dict[str, Tensor] = found) -> Tensor:
                found[seen] = value
                return value

            WrittenOut(checkpoint, record, splits_inputs=splits).logits(other)
        for name in names:
            splits = name.endswith(OWN_INPUTS)

            def write(seen: str, value: Tensor, name: str = name, found: dict[str, Tensor] = kept[splits]) -> Tensor:
                return found[name] if seen == name else value

            expected = WrittenOut(checkpoint, write, splits_inputs=splits).logits(inputs)
            ours = vlm.run(inputs, ActivationPatch(source, name, slice(None))).logits
            if off(ours, expected, is_real) > 1e-5:
                wrong[name] = off(ours, expected, is_real)
    assert wrong == {}


def test_patching_from_the_run_itself_changes_no_bit(vlm: HookedVLM, inputs: Inputs) -> None:
    names = patchable(vlm)
    run = vlm.run(inputs, names_filter=names)
    for name in names:
        again = vlm.run(inputs, ActivationPatch(run, name, "all")).logits
        assert torch.equal(again, run.logits), name


@pytest.mark.parametrize("layer", [0, 1])
def test_the_whole_stream_of_a_source_gives_its_logits(vlm: HookedVLM, inputs: Inputs, layer: int) -> None:
    hook = f"blocks.{layer}.hook_resid_pre"
    source = vlm.run(tiny_inputs(vlm, seed=1), names_filter=hook)
    patched = vlm.run(inputs, ActivationPatch(source, hook, "all")).logits
    is_real = inputs.attention_mask.bool()
    assert torch.equal(patched[is_real], source.logits[is_real])


def test_names_are_looked_up_in_each_layout(vlm: HookedVLM, inputs: Inputs) -> None:
    """One longer row serves both rows, one of them padded: the picture to the picture, the last to the last."""
    plain, other = Plain(tiny_checkpoint()), longer_inputs(vlm)
    pairs = []
    for row in range(2):
        there = image_columns(other, 0) + [other.shape[1] - 1]
        here = image_columns(inputs, row) + [inputs.shape[1] - 1]
        pairs += [(row, *pair[:1], 0, pair[1]) for pair in zip(here, there, strict=True)]
    place = ("decoder", "layer", 0)
    with torch.no_grad():
        edit = copied(recorded(plain, place, other), pairs, slice(None))
        expected = plain.logits(inputs, edits={place: edit})
    source = vlm.run(other, names_filter=RESID)
    for patch in (
        ActivationPatch(source, RESID, ["image", "last"]),
        ActivationPatch(source, RESID, ["image", -1], source_positions=["image", other.shape[1] - 1]),
        ActivationPatch(source.cache, RESID, ["image", "last"], source_layout=other.layout),
        ActivationPatch({RESID: source.cache[RESID]}, RESID, ["image", "last"], source_layout=other.layout),
    ):
        assert off(vlm.run(inputs, patch).logits, expected, inputs.attention_mask) <= 1e-5


def test_one_position_goes_to_another(vlm: HookedVLM, inputs: Inputs) -> None:
    hook = "blocks.1.hook_resid_post"
    source = vlm.run(longer_inputs(vlm), names_filter=hook)
    patch = ActivationPatch(source, hook, "last", source_positions=7)
    patched, plain = vlm.run(inputs, patch).logits, vlm.run(inputs).logits
    assert torch.allclose(patched[:, -1], source.logits[0, 7].expand(2, -1), atol=1e-5)
    assert torch.equal(patched[:, :-1], plain[:, :-1])


def test_each_row_may_be_said_by_itself(vlm: HookedVLM, inputs: Inputs) -> None:
    other = longer_inputs(vlm, 2)
    source = vlm.run(other, names_filter=RESID)
    run = vlm.run(inputs, names_filter=RESID)
    patch = ActivationPatch(source, RESID, {1: [-1, -2]}, source_positions={1: "last", 0: ()})
    with pytest.raises(PositionError, match=r"row 1: .*got 1 in row 1 of the source for 2 here"):
        vlm.run(inputs, patch)
    patched = vlm.run(inputs, replace(patch, source_positions=None), names_filter=RESID)
    assert torch.equal(patched.cache[RESID][0], run.cache[RESID][0])
    assert torch.equal(patched.cache[RESID][1, -2:], source.cache[RESID][1, -2:])
    chosen = vlm.run(inputs, ActivationPatch(source, RESID, "last", source_row=1), names_filter=RESID)
    assert torch.equal(chosen.cache[RESID][:, -1], source.cache[RESID][1:, -1].expand(2, -1))


def test_a_region_is_the_same_patches_of_the_sources_picture(vlm: HookedVLM, inputs: Inputs) -> None:
    other = longer_inputs(vlm, 2)
    region = inputs.layout.patches(rows=1, row=1)
    for hook in (RESID, "projector.hook_out", "vision.blocks.0.hook_resid_post"):
        source = vlm.run(other, names_filter=hook)
        before = vlm.run(inputs, names_filter=hook).cache[hook]
        after = vlm.run(inputs, ActivationPatch(source, hook, region), names_filter=hook).cache[hook]
        assert torch.equal(after[0], before[0])
        n = inputs.layout.image_span().grid.n_cols
        first = {"p": n, "v": n + 1}.get(hook[0])
        mine = range(first, first + n) if first is not None else image_columns(inputs, 1)[n : 2 * n]
        theirs = range(first, first + n) if first is not None else image_columns(other, 1)[n : 2 * n]
        assert torch.equal(after[1, list(mine)], source.cache[hook][1, list(theirs)])
        others = [position for position in range(before.shape[1]) if position not in mine]
        assert torch.equal(after[1, others], before[1, others])


def test_pictures_are_matched_row_by_row_and_image_by_image(vlm: HookedVLM) -> None:
    hook = "vision.blocks.0.hook_resid_pre"
    two = vlm.as_inputs(new_mapping(tiny_checkpoint(), [(1, IMAGE, 2, IMAGE, 3), (2, IMAGE, 2, IMAGE, 1)], seed=4))
    one_row = vlm.as_inputs(new_mapping(tiny_checkpoint(), [(2, IMAGE, 1, IMAGE, 5)], seed=5))
    source = vlm.run(one_row, names_filter=hook)
    seen = vlm.run(two, ActivationPatch(source, hook, "patches"), names_filter=hook).cache[hook]
    for picture, expected in enumerate([0, 1, 0, 1]):
        assert torch.equal(seen[picture, 1:], source.cache[hook][expected, 1:])
    with pytest.raises(PositionError, match="Picture has no counterpart.*got row 0, image 1"):
        vlm.run(two, ActivationPatch(vlm.run(longer_inputs(vlm), names_filter=hook), hook, "patches"))


def test_a_source_may_itself_be_intervened_on(vlm: HookedVLM, inputs: Inputs) -> None:
    """Path patching's first step: what a knockout leaves at one place, in an otherwise clean run."""
    knockout = AttentionKnockout("last", "image", layers=[0])
    source = vlm.run(inputs, knockout, names_filter=RESID)
    patched = vlm.run(inputs, ActivationPatch(source, RESID, "all"))
    assert torch.equal(patched.logits, source.logits)


def test_clip_and_a_tower_alone_are_patched() -> None:
    hf = new_clip()
    clip, plain, place = HookedCLIP.from_hf(hf), Plain(hf), ("vision", "layer", 1)
    pixels, other, texts = random_pixels(2, seed=0), random_pixels(2, seed=1), torch.tensor([[1, 300, 400, 2]])
    kept: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        kept.append(value.clone())
        return value

    def edit(value: Tensor) -> Tensor:
        value[:, 3] = kept[0][:, 3]
        return value

    with torch.no_grad():
        plain.image_embeds(other, edits={place: keep})
        expected = plain.image_embeds(pixels, edits={place: edit})
    hook, vectors = "vision.blocks.1.hook_resid_post", "hook_image_embed"
    source = clip.run({"pixel_values": other, "input_ids": texts}, names_filter=[hook, vectors])
    given = {"pixel_values": pixels, "input_ids": texts}
    ours = clip.run(given, ActivationPatch(source, hook, 3), names_filter=vectors)
    assert off(ours.cache[vectors], expected) <= 1e-5
    projected = clip.run(given, ActivationPatch(source, vectors, "all")).logits
    assert torch.equal(projected, source.logits)

    alone = HookedTransformer.from_hf(hf.vision_model)
    hook = "blocks.1.hook_resid_pre"
    of_tower = alone.run(other, names_filter=hook)
    assert torch.equal(alone.run(pixels, ActivationPatch(of_tower, hook, "all")).logits, of_tower.logits)
    from_clip = clip.run({"pixel_values": other, "input_ids": texts}, names_filter=f"vision.{hook}").cache.vision
    assert torch.equal(alone.run(pixels, ActivationPatch(from_clip, hook, "all")).logits, of_tower.logits)


def test_a_cache_is_taken_to_have_this_runs_layout(vlm: HookedVLM, inputs: Inputs) -> None:
    other = tiny_inputs(vlm, seed=1)
    run = vlm.run(other, names_filter=RESID)
    by_run, by_cache = (ActivationPatch(one, RESID, "image") for one in (run, run.cache))
    assert torch.equal(vlm.run(inputs, by_run).logits, vlm.run(inputs, by_cache).logits)
    _, without_batch = vlm.run_with_cache(other.row(0), names_filter=RESID, remove_batch_dim=True)
    alone = vlm.run(inputs.row(0), ActivationPatch(without_batch, RESID, "image")).logits
    assert (alone - vlm.run(inputs, by_run).logits[:1]).abs().max() <= 1e-4


def test_what_cannot_be_patched_is_refused_before_the_model_runs(vlm: HookedVLM, inputs: Inputs) -> None:
    other, longer = tiny_inputs(vlm, seed=1), longer_inputs(vlm)
    run, of_longer = (
        vlm.run(other, names_filter=RESID),
        vlm.run(longer, names_filter=[RESID, "blocks.0.attn.hook_pattern"]),
    )
    good, kept = ActivationPatch(run, RESID, "image"), run.cache[RESID]
    broken = {RESID: torch.where(torch.arange(kept.shape[1])[:, None] == 10, torch.nan, kept)}
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        (dict(hook="blocks.1.hook_mlp_out"), ActivationError, r"names_filter=\['blocks.1.hook_mlp_out'\]"),
        (dict(source=vlm.run(other)), ActivationError, "kept no activations.*names_filter"),
        (dict(source=kept), HookError, "got Tensor"),
        (dict(source=broken), HookError, "got NaN or infinite ones"),
        (dict(source={RESID: kept[..., :20]}), HookError, r"expected \[batch pos 24\], got \[2, 24, 20\]"),
        (dict(source={RESID: kept[:, :20]}), PositionError, r"expected 24 positions, as here, got 20.*source_layout"),
        (dict(source={RESID: kept[[0, 1, 1]]}), PositionError, "expected 1 row, or 2 as here, got 3 rows"),
        (dict(source_row=2), PositionError, "source_row: expected a row of the source, from 0 to 1, got 2"),
        (dict(source_positions=[3, 4]), PositionError, rf"row 0: .*got 2 in row 0 of the source for {N_PATCHES} here"),
        (dict(source=of_longer, positions="question"), PositionError, "as many positions in the source as here"),
        (dict(source_positions="generated"), EmptySelectionError, "source_positions of"),
        (dict(positions="generated"), EmptySelectionError, "positions of"),
        (dict(heads=0), HookError, "a hook that tells heads apart"),
        (dict(source=of_longer, hook="blocks.0.attn.hook_pattern", positions="last"), PositionError, "same key pos"),
        (dict(hook="blocks.0.attn.hook_mask", source={"blocks.0.attn.hook_mask": kept}), HookError, "AttentionKnock"),
        (dict(positions=longer.layout.patches(), hook=RESID), PositionError, "another picture"),
    ]  # fmt: skip
    for change, error, message in cases:
        with pytest.raises(error, match=message):
            vlm.run(inputs, replace(good, **change))
    skipped = vlm.run(inputs, replace(good, source_positions="generated", on_empty="skip"))
    assert torch.equal(skipped.logits, vlm.run(inputs).logits)


def test_a_value_says_what_it_is(vlm: HookedVLM) -> None:
    one, other = (vlm.run(tiny_inputs(vlm, seed=seed), names_filter=[RESID, "hook_embed"]) for seed in (1, 2))
    patch = ActivationPatch(one, RESID, "image")
    assert repr(ActivationPatch({RESID: one.cache[RESID]}, RESID, "image", heads=None)) == (
        f"ActivationPatch(source={{'{RESID}': Tensor(2, 24, 24)}}, hook='{RESID}', positions='image')"
    )
    same = ActivationPatch(vlm.run(tiny_inputs(vlm, seed=1), names_filter=RESID), RESID, "image", name="again")
    assert patch.fingerprint() == same.fingerprint()
    assert patch.fingerprint() != ActivationPatch(other, RESID, "image").fingerprint()
    assert patch.fingerprint() != replace(patch, positions="last").fingerprint()


def test_on_the_bundled_model_the_objects_patches_carry_the_answer() -> None:
    vlm, (cat, sheep, *_) = HookedVLM.demo(), example_scenes()
    clean, corrupted = (vlm.prepare(one.scene.image, "Is there a cat in this image?") for one in (cat, sheep))
    region = clean.layout.region(cat.subject.mask).dilate(1).on(corrupted.layout.image_span())
    hook, yes, no = "blocks.1.hook_resid_pre", vlm.to_single_token(" Yes"), vlm.to_single_token(" No")
    source = vlm.run(clean, names_filter=hook)

    def difference(*objects: ActivationPatch) -> float:
        logits = vlm.run(corrupted, *objects).logits[0, -1]
        return float(logits[yes] - logits[no])

    assert difference() < -3
    assert difference(ActivationPatch(source, hook, region)) > 3
    assert difference(ActivationPatch(source, hook, ~region)) < -1
    patch = ActivationPatch(source, hook, region)
    cached, uncached = (vlm.generate(corrupted, patch, max_new_tokens=6, use_cache=one) for one in (True, False))
    assert torch.equal(cached.tokens, uncached.tokens) and cached.text.startswith("Yes")
