"""Ablations write what they say where they say, as hooks on plain `transformers` would.

Tolerances: both sides compute in fp32 with kernels that sum in another order; activations are of order 1 and logits of
order 10, so 1e-5 of the largest logit is some ten rounding errors. Identities are compared to the bit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.interventions.plain_transformers import Plain
from tests.model.tiny_vlms import tiny_checkpoint, tiny_vlm
from tests.tiny_models import IMAGE, IMAGE_TOKEN, new_clip
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import HookedCLIP, HookedVLM, Inputs
from vlm_lens.errors import EmptySelectionError, HookError, PositionError
from vlm_lens.interventions import MeanAblation, NoiseAblation, ResampleAblation, ValueAblation, ZeroAblation

SITES = {  # our hook: the place on the plain model, the shape of one position
    "projector.hook_out": ("projector", (24,)),
    "hook_embed": ("embed", (24,)),
    "blocks.0.hook_resid_post": (("decoder", "layer", 0), (24,)),
    "blocks.1.hook_mlp_out": (("decoder", "mlp_out", 1), (24,)),
    "blocks.0.hook_attn_out": (("decoder", "attn_out", 0), (24,)),
    "blocks.1.attn.hook_z": (("decoder", "z", 1), (4, 6)),
    "vision.blocks.0.hook_resid_post": (("vision", "layer", 0), (16,)),
    "vision.blocks.1.hook_mlp_out": (("vision", "mlp_out", 1), (16,)),
    "vision.blocks.1.attn.hook_z": (("vision", "z", 1), (2, 8)),
}
N_PATCHES, CLASS = 16, 1


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass
class Batch:
    """A batch with left padding, and two pictures in its first row."""

    vlm: HookedVLM
    plain: Plain
    mapping: dict[str, Tensor]

    @property
    def inputs(self) -> Inputs:
        return self.vlm.as_inputs(self.mapping)


@pytest.fixture(scope="module")
def batch() -> Batch:
    checkpoint = tiny_checkpoint()
    rows = [(2, IMAGE, 3, IMAGE, 4), (1, IMAGE, 5)]
    return Batch(tiny_vlm(), Plain(checkpoint), new_mapping(checkpoint, rows))


def assert_close(ours: Tensor, theirs: Tensor, mask: Tensor, atol: float = 1e-5) -> None:
    """Logits of real positions."""
    is_real = mask.bool()
    apart = (ours - theirs)[is_real].abs().max() / theirs[is_real].abs().max()
    assert apart <= atol, float(apart)


def is_picture(hook: str) -> bool:
    return hook.startswith(("vision", "projector"))


def is_at_image(hook: str, mapping: dict[str, Tensor]) -> Tensor:
    """By hand: every patch, `[batch pos]` of the decoder or `[image pos]` of the tower or projector."""
    if not is_picture(hook):
        return mapping["input_ids"] == IMAGE_TOKEN
    is_patch = torch.ones(len(mapping["pixel_values"]), N_PATCHES, dtype=torch.bool)
    if hook.startswith("vision"):
        is_patch = torch.cat([torch.zeros(len(is_patch), CLASS, dtype=torch.bool), is_patch], dim=1)
    return is_patch


def put(values: Tensor, where: Tensor, heads: list[int] | None, features: tuple[int, ...]) -> Callable[..., Tensor]:
    """An edit of the plain model, position by position."""

    def edit(activation: Tensor) -> Tensor:
        split = activation.reshape(*activation.shape[:2], *features)
        for row, position in where.nonzero().tolist():
            value = values if values.ndim == len(features) else values[position]
            if heads is None:
                split[row, position] = value
            else:
                for head in heads:
                    split[row, position, head] = value[head]
        return split.reshape(activation.shape)

    return edit


@pytest.mark.parametrize("hook", SITES)
def test_a_mean_equals_a_torch_hook_on_plain_transformers(batch: Batch, hook: str) -> None:
    place, features = SITES[hook]
    mean, heads = random(*features), [0] if len(features) == 2 else None
    edit = put(mean, is_at_image(hook, batch.mapping), heads, features)
    theirs = batch.plain.logits(batch.mapping, edits={place: edit})
    ours = batch.vlm.run(batch.inputs, MeanAblation("image", mean, hook, heads=heads)).logits
    assert_close(ours, theirs, batch.mapping["attention_mask"])
    assert not torch.allclose(ours, batch.vlm(batch.inputs), atol=1e-2)


@pytest.mark.parametrize("hook", ["projector.hook_out", "vision.blocks.0.hook_resid_post", "blocks.0.hook_resid_post"])
def test_a_region_of_the_second_picture_is_ablated_there_alone(batch: Batch, hook: str) -> None:
    place, features = SITES[hook]
    region = batch.inputs.layout.patches(rows=[0, 2], cols=[1, 3], image=1, row=0)
    patches = [1, 3, 9, 11]
    where = torch.zeros_like(is_at_image(hook, batch.mapping))
    if is_picture(hook):
        where[1, [patch + CLASS * hook.startswith("vision") for patch in patches]] = True
    else:
        first = int((batch.mapping["input_ids"][0] == IMAGE_TOKEN).nonzero()[N_PATCHES])
        where[0, [first + patch for patch in patches]] = True
    theirs = batch.plain.logits(batch.mapping, edits={place: put(torch.zeros(features), where, None, features)})
    ours = batch.vlm.run(batch.inputs, ZeroAblation(region, hook)).logits
    assert_close(ours, theirs, batch.mapping["attention_mask"])
    assert torch.equal(ours[1], batch.vlm(batch.inputs)[1])


def test_each_patch_can_have_a_mean_of_its_own(batch: Batch) -> None:
    is_image = batch.mapping["input_ids"] == IMAGE_TOKEN
    for hook in ("projector.hook_out", "vision.blocks.0.hook_resid_post", "blocks.0.hook_resid_post"):
        place, (width,) = SITES[hook]
        means = random(N_PATCHES, width, seed=1)

        def edit(activation: Tensor, hook: str = hook, means: Tensor = means) -> Tensor:
            if is_picture(hook):
                activation[:, CLASS * hook.startswith("vision") :] = means
                return activation
            for row in range(2):
                for number, position in enumerate(is_image[row].nonzero().flatten().tolist()):
                    activation[row, position] = means[number % N_PATCHES]
            return activation

        theirs = batch.plain.logits(batch.mapping, edits={place: edit})
        ours = batch.vlm.run(batch.inputs, MeanAblation("image", means, hook)).logits
        assert_close(ours, theirs, batch.mapping["attention_mask"])


def test_several_layers_have_a_mean_each(batch: Batch) -> None:
    means = {f"blocks.{layer}.hook_mlp_out": random(24, seed=layer) for layer in range(2)}
    where = is_at_image("blocks", batch.mapping)
    edits: dict[Any, Any] = {}
    for layer, mean in enumerate(means.values()):
        edits["decoder", "mlp_out", layer] = put(mean, where, None, (24,))
    ours = batch.vlm.run(batch.inputs, MeanAblation("image", means, "blocks.*.hook_mlp_out")).logits
    assert_close(ours, batch.plain.logits(batch.mapping, edits=edits), batch.mapping["attention_mask"])
    one = batch.vlm.run(batch.inputs, MeanAblation("image", means, "blocks.*.hook_mlp_out", layers=1)).logits
    theirs = batch.plain.logits(batch.mapping, edits={key: edit for key, edit in edits.items() if key[2] == 1})
    assert_close(one, theirs, batch.mapping["attention_mask"])


@pytest.mark.parametrize("name", ["generated", "predicting"])
def test_an_ablation_holds_at_every_step_of_a_cached_generation(batch: Batch, name: str) -> None:
    hook, vector, n_prompt = "blocks.0.hook_resid_post", random(24), batch.inputs.shape[1]
    ours = batch.vlm.generate(
        batch.inputs, ValueAblation(["image", name], vector, hook), max_new_tokens=5, eos_token_id=()
    )

    def edit(activation: Tensor) -> Tensor:
        is_image = batch.mapping["input_ids"] == IMAGE_TOKEN
        for row, position in is_image.nonzero().tolist():
            activation[row, position] = vector
        activation[:, n_prompt - (name == "predicting") :] = vector
        return activation

    theirs = batch.plain.step_logits(batch.mapping, ours.tokens, edits={("decoder", "layer", 0): edit})
    torch.testing.assert_close(ours.logits, theirs, atol=1e-4, rtol=1e-4)


def test_the_prompt_is_written_once_in_a_cached_generation(batch: Batch) -> None:
    ablation = MeanAblation("image", random(24))
    ours = batch.vlm.generate(batch.inputs, ablation, max_new_tokens=4, eos_token_id=())
    edit = put(random(24), is_at_image("projector", batch.mapping), None, (24,))
    theirs = batch.plain.step_logits(batch.mapping, ours.tokens, edits={"projector": edit})
    torch.testing.assert_close(ours.logits, theirs, atol=1e-4, rtol=1e-4)


def test_clip_towers_are_ablated_too() -> None:
    checkpoint = new_clip()
    clip, plain, pixels = HookedCLIP.from_hf(checkpoint), Plain(checkpoint), random(2, 3, 28, 28)
    texts = {"input_ids": torch.randint(300, 499, (1, 5), generator=torch.Generator().manual_seed(0))}
    mean = random(32)

    def edit(activation: Tensor) -> Tensor:
        activation[:, 1:] = mean
        return activation

    run = clip.run(
        {"pixel_values": pixels, **texts},
        MeanAblation("patches", mean, "vision.blocks.1.hook_resid_post"),
        names_filter="hook_image_embed",
    )
    assert run.cache is not None
    theirs = plain.image_embeds(pixels, edits={("vision", "layer", 1): edit})
    torch.testing.assert_close(run.cache["hook_image_embed"], theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "hook",
    [*SITES, "blocks.1.attn.hook_k", "blocks.0.attn.hook_q", "blocks.1.mlp.hook_post", "vision.hook_embed",
     "vision.blocks.1.attn.hook_v", "vision.hook_patch_embed", "projector.hook_post", "unembed.hook_in"],
)  # fmt: skip
def test_the_activations_own_value_changes_no_bit(batch: Batch, hook: str) -> None:
    plain, cache = batch.vlm.run_with_cache(batch.inputs, names_filter=hook)
    run = batch.vlm.run(batch.inputs, MeanAblation("all" if not is_picture(hook) else "image", cache[hook], hook))
    assert torch.equal(run.logits, plain)
    alone = batch.inputs.row(1)
    plain, cache = batch.vlm.run_with_cache(alone, names_filter=hook)
    assert torch.equal(batch.vlm.run(alone, MeanAblation("image", cache[hook][0], hook)).logits, plain)


@pytest.mark.parametrize("name", ["hook_normalized", "hook_result", "hook_q_input"])
def test_the_own_value_computed_beside_the_fast_path_changes_nothing_either(batch: Batch, name: str) -> None:
    hook = next(full for full in batch.vlm.hook_dict if full.endswith(name) and full.startswith("blocks"))
    plain, cache = batch.vlm.run_with_cache(batch.inputs, names_filter=hook)
    run = batch.vlm.run(batch.inputs, MeanAblation("image", cache[hook], hook))
    torch.testing.assert_close(run.logits, plain, atol=1e-6, rtol=1e-6)


NOISY = ["projector.hook_out", "blocks.1.attn.hook_z", "vision.blocks.0.hook_resid_post"]
DRAWS: dict[str, Callable[..., Any]] = {
    "noise": NoiseAblation,
    "noise added": partial(NoiseAblation, adds=True),
    "resampled": lambda positions, **options: ResampleAblation(
        positions, {hook: random(50, *SITES[hook][1]) for hook in SITES}, **options
    ),
    "resampled patch by patch": lambda positions, **options: ResampleAblation(
        positions, {hook: random(7, N_PATCHES, *SITES[hook][1]) for hook in SITES}, same_position=True, **options
    ),
}


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("hook", NOISY)
def test_chance_is_the_same_in_a_padded_batch_and_alone(batch: Batch, draw: str, hook: str) -> None:
    ablation = DRAWS[draw]("image", hook=hook, seed=3)
    together = batch.vlm.run(batch.inputs, ablation).logits
    assert torch.equal(batch.vlm.run(batch.inputs, ablation).logits, together)
    alone = batch.inputs.row(1)
    ours = batch.vlm.run(alone, ablation).logits[0]
    torch.testing.assert_close(ours, together[1, -len(ours) :], atol=1e-4, rtol=1e-4)
    other = batch.vlm.run(batch.inputs, DRAWS[draw]("image", hook=hook, seed=4)).logits
    assert not torch.allclose(other, together, atol=1e-2)


@pytest.mark.parametrize("draw", ["noise", "noise added", "resampled"])
def test_chance_is_the_same_at_every_step_of_a_cached_generation(batch: Batch, draw: str) -> None:
    ablation = DRAWS[draw]("all", hook="blocks.0.hook_resid_post")
    ours = batch.vlm.generate(batch.inputs, ablation, max_new_tokens=4, eos_token_id=())
    inputs = batch.inputs
    for step in range(4):
        logits = batch.vlm.run(inputs, ablation).logits[:, -1]
        torch.testing.assert_close(ours.logits[:, step], logits, atol=1e-4, rtol=1e-4)
        inputs = inputs.continued(ours.tokens[:, step])


def written(vlm: HookedVLM, inputs: Inputs, ablation: Any) -> tuple[Tensor, Tensor]:
    """An activation before and after an ablation."""
    _, cache = vlm.run_with_cache(inputs, names_filter=ablation.hook)
    after = vlm.run(inputs, ablation, names_filter=ablation.hook).cache
    assert after is not None
    return cache[ablation.hook], after[ablation.hook]


def test_noise_is_as_large_as_what_it_replaces() -> None:
    vlm = HookedVLM.demo()
    pixels = {"pixel_values": random(1, 3, 96, 96), "input_ids": torch.full((1, 144), vlm.image_token_id),
              "attention_mask": torch.ones(1, 144, dtype=torch.long)}  # fmt: skip
    inputs = vlm.as_inputs(pixels)
    before, after = written(vlm, inputs, NoiseAblation("image", scale=2.0))
    # 192 draws a vector: the root mean square is off by 1 / sqrt(2 * 192) = 5%, its mean over 144 vectors by 0.4%.
    ratio = after.square().mean(dim=-1).sqrt() / before.square().mean(dim=-1).sqrt()
    assert abs(float(ratio.mean()) - 2.0) < 0.05
    unit = after / before.square().mean(dim=-1, keepdim=True).sqrt() / 2.0
    assert abs(float(unit.mean())) < 0.03 and abs(float(unit.std()) - 1.0) < 0.03  # of 27,648 draws
    apart = torch.corrcoef(unit[0])[~torch.eye(144, dtype=torch.bool)]
    assert float(apart.abs().max()) < 6 / 192**0.5  # no two positions are given the same noise
    before, added = written(vlm, inputs, NoiseAblation("image", scale=2.0, adds=True))
    torch.testing.assert_close(added - before, after, atol=1e-3, rtol=1e-3)


def test_positions_that_are_resampled_have_vectors_of_the_source(batch: Batch) -> None:
    source, heads = random(5, N_PATCHES, 4, 6), [1, 2]
    ablation = ResampleAblation("image", source, "blocks.1.attn.hook_z", heads=heads)
    before, after = written(batch.vlm, batch.inputs, ablation)
    pool = source.flatten(0, 1)
    drawn = set()
    for row, position in (batch.mapping["input_ids"] == IMAGE_TOKEN).nonzero().tolist():
        found = (pool[:, heads] == after[row, position, heads]).flatten(1).all(dim=1).nonzero()
        assert len(found) == 1
        drawn.add(int(found))
        assert torch.equal(after[row, position, [0, 3]], before[row, position, [0, 3]])
    assert len(drawn) > 15  # of 32 positions that differ, and 80 vectors


def test_resampling_at_the_same_position_draws_only_the_example(batch: Batch) -> None:
    source = random(5, N_PATCHES, 24)
    for hook in ("projector.hook_out", "blocks.0.hook_resid_post"):
        _, after = written(batch.vlm, batch.inputs, ResampleAblation("image", source, hook, same_position=True))
        vectors = after if is_picture(hook) else after[batch.mapping["input_ids"] == IMAGE_TOKEN].view(3, N_PATCHES, 24)
        is_found = (vectors[:, :, None] == source.transpose(0, 1)[None]).all(dim=-1)
        assert (is_found.sum(dim=-1) == 1).all()
        assert len(set(is_found.int().argmax(dim=-1).flatten().tolist())) == 5


def test_ablations_of_one_position_in_two_orders_differ(batch: Batch) -> None:
    first, second = MeanAblation("image", random(24)), ZeroAblation("last_row")
    ours, swapped = (batch.vlm.run(batch.inputs, *pair).logits for pair in ((first, second), (second, first)))
    assert not torch.allclose(ours, swapped, atol=1e-2)
    assert torch.equal(swapped, batch.vlm.run(batch.inputs, first).logits)


BAD: list[tuple[Any, type[Exception], str]] = [
    (MeanAblation("image", torch.zeros(23)), HookError, r"at projector.hook_out: expected vectors \[24\]"),
    (MeanAblation("image", torch.zeros(24), "blocks.0.attn.hook_z"), HookError, r"\[4 6\].*got \[24\]"),
    (MeanAblation("image", torch.zeros(15, 24)), HookError, "vectors for 16 patches.*got 15"),
    (MeanAblation("image", torch.zeros(15, 24), "hook_embed"), HookError, "16 patches of a picture or 41 positions"),
    (MeanAblation("last", torch.zeros(16, 24), "hook_embed"), HookError, "a vector for each position, got none for"),
    (MeanAblation("image", torch.full((24,), torch.nan)), HookError, "finite vectors, got 24 of 24"),
    (MeanAblation("image", torch.zeros(24).index_fill(0, torch.tensor([3]), torch.inf)), HookError, "got 1 of 24"),
    (ValueAblation("image", torch.nan), HookError, "finite vectors"),
    (MeanAblation("image", {"hook_embed": torch.zeros(24)}), HookError, r"hooks that vectors were given for"),
    (MeanAblation("image", torch.zeros(7, 41, 24), "hook_embed"), HookError, "activation of 2 rows, got 7 rows"),
    (MeanAblation("image", torch.zeros(24), "blocks.0.attn.hook_pattern"), HookError, "entry for each query and key"),
    (ZeroAblation("image", "blocks.0.attn.hook_mask"), HookError, "AttentionKnockout blocks edges"),
    (ZeroAblation("generated", "hook_embed"), EmptySelectionError, "got none for 'generated'"),
    (ZeroAblation("cls", "hook_embed"), PositionError, "'cls'"),
    (ZeroAblation("image", "blocks.9.hook_resid_post"), HookError, "does not exist"),
    (ZeroAblation("image", "blocks.*.hook_resid_post", layers=7), EmptySelectionError, "from 0 to 1"),
    (ZeroAblation("image", "blocks.0.attn.hook_k", heads=3), HookError, r"grouped.*from 0 to 1"),
    (ZeroAblation("image", heads=0), HookError, "tells heads apart"),
    (NoiseAblation("image", scale=0.0), HookError, "finite number above 0, got 0.0"),
    (NoiseAblation("image", hook="blocks.0.attn.hook_attn_scores"), HookError, "a vector for each position"),
    (ResampleAblation("image", torch.zeros(3, 24, dtype=torch.float64).log()), HookError, "finite vectors"),
    (ResampleAblation("image", torch.zeros(3, 5)), HookError, "got .3, 5."),
    (ResampleAblation("image", torch.zeros(0, 24)), HookError, "at least one vector"),
    (ResampleAblation("image", torch.zeros(3, 24), same_position=True), HookError, "batch pos"),
    (ResampleAblation("image", torch.zeros(3, 9, 24), same_position=True), HookError, "16 patches"),
]


@pytest.mark.parametrize("ablation, error, message", BAD, ids=[f"{type(one[0]).__name__} {one[2]}" for one in BAD])
def test_what_cannot_be_written_is_refused_before_the_model_runs(
    batch: Batch, ablation: Any, error: type[Exception], message: str
) -> None:
    reached = []
    with (
        batch.vlm.hooks(fwd_hooks=[("vision.hook_patch_embed", lambda activation, hook: reached.append(hook.name))]),
        pytest.raises(error, match=message),
    ):
        batch.vlm.run(batch.inputs, ablation)
    assert not reached


def test_an_empty_selection_can_be_skipped(batch: Batch) -> None:
    nothing = batch.inputs.layout.patches().sample(0)
    with pytest.raises(EmptySelectionError, match="positions of ZeroAblation"):
        batch.vlm.run(batch.inputs, ZeroAblation(nothing))
    skipped = MeanAblation(nothing, random(24), on_empty="skip")
    assert torch.equal(batch.vlm.run(batch.inputs, skipped).logits, batch.vlm(batch.inputs))


def test_a_tower_by_itself_takes_an_ablation(batch: Batch) -> None:
    vector, tower = random(16), batch.vlm.vision
    pixels = batch.mapping["pixel_values"]
    with batch.vlm.attach(MeanAblation("patches", vector, "vision.blocks.0.hook_resid_post")):
        _, cache = tower.run_with_cache(pixels, names_filter="blocks.1.hook_resid_pre")
    assert torch.equal(cache["blocks.1.hook_resid_pre"][:, 1:], vector.expand(3, N_PATCHES, 16))
    _, plain = tower.run_with_cache(pixels, names_filter="blocks.1.hook_resid_pre")
    assert torch.equal(cache["blocks.1.hook_resid_pre"][:, 0], plain["blocks.1.hook_resid_pre"][:, 0])


def test_an_ablation_says_what_it_is(batch: Batch) -> None:
    one = MeanAblation("image", torch.zeros(24), name="average")
    assert repr(one) == "MeanAblation(positions='image', mean=Tensor(24), name='average')"
    assert one.fingerprint() == MeanAblation("image", torch.zeros(24)).fingerprint()
    assert one.fingerprint() != MeanAblation("image", torch.ones(24)).fingerprint()
    _, cache = batch.vlm.run_with_cache(batch.inputs, names_filter="projector.hook_out")
    assert ResampleAblation("image", cache).fingerprint() != ResampleAblation("image", cache, seed=1).fingerprint()
