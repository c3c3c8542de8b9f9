"""Generation against `transformers`: cached and uncached, batched with left padding, 50 steps.

Random weights tend to repeat one token, and equal ids then prove little. Most tests here therefore force a random
continuation: at every step both models are fed the same, ever new token, and the logits of each step are compared.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from tests.tiny_models import (
    IMAGE,
    PAD_TOKEN,
    TEXT_TOKENS,
    new_llava,
    position_ids,
    tiny_inputs,
    tiny_llava,
)
from vlm_lens import HookedVLM
from vlm_lens.errors import InputError
from vlm_lens.model.key_value_cache import KeyValueCache

N_STEPS = 50
TOLERANCE = 1e-4  # of the largest logit; about 3e-6 is usual
VARIANTS = (
    "llama",
    "mistral, window shorter than the prompt",
    "qwen2, windows in the upper layers",
    "siglip",
)
ROWS = [(4, IMAGE, 5), (2, IMAGE, 1)]


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def vlm(variant: str) -> Iterator[HookedVLM]:
    """A hooked model; no hook may stand at it when a test ends."""
    hooked = HookedVLM.from_hf(tiny_llava(variant))
    yield hooked
    assert all(point.is_idle for point in hooked.hook_dict.values())


@pytest.fixture
def plain_vlm() -> Iterator[HookedVLM]:
    hooked = HookedVLM.from_hf(tiny_llava())
    yield hooked
    assert all(point.is_idle for point in hooked.hook_dict.values())


def prompts(variant: str = "llama") -> dict[str, Tensor]:
    """Two rows, the second padded on the left."""
    inputs = tiny_inputs(tiny_llava(variant), ROWS)
    assert not inputs["attention_mask"].all()
    return inputs


def forced_tokens(n_steps: int = N_STEPS) -> Tensor:
    """[batch step]: what both models are made to read after the prompts."""
    random = torch.Generator().manual_seed(7)
    return torch.randint(TEXT_TOKENS.start, TEXT_TOKENS.stop, (len(ROWS), n_steps), generator=random)


def with_tokens(inputs: dict[str, Tensor], tokens: Tensor) -> dict[str, Tensor]:
    """The whole sequence: prompts, then these tokens."""
    mask = inputs["attention_mask"]
    return {
        **inputs,
        "input_ids": torch.cat((inputs["input_ids"], tokens), dim=1),
        "attention_mask": torch.cat((mask, torch.ones_like(tokens)), dim=1),
    }


@torch.no_grad()
def forced_step_by_step(vlm: HookedVLM, inputs: dict[str, Tensor], tokens: Tensor, stride: int = 1) -> Tensor:
    """[batch step d_vocab]: our logits before each token, fed `stride` at a time to a cache of keys and values."""
    past = KeyValueCache(vlm.cfg.n_layers, capacity=8)  # too small on purpose: it has to grow
    logits = [vlm(inputs, past=past)[:, -1:]]
    for start in range(0, tokens.shape[1], stride):
        logits.append(vlm(tokens[:, start : start + stride], past=past))
    assert past.n_positions == inputs["input_ids"].shape[1] + tokens.shape[1]
    return torch.cat(logits, dim=1)[:, :-1]


@torch.no_grad()
def transformers_at_once(variant: str, inputs: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """[batch step d_vocab]: the logits of `transformers` before each token, from one run of the whole sequence."""
    whole = with_tokens(inputs, tokens)
    logits = tiny_llava(variant)(**whole, position_ids=position_ids(whole["attention_mask"])).logits
    return logits[:, inputs["input_ids"].shape[1] - 1 : -1]


@torch.no_grad()
def transformers_step_by_step(variant: str, inputs: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """[batch step d_vocab]: the same from the cached decoding of `transformers`."""
    model = tiny_llava(variant)
    mask, past = inputs["attention_mask"], DynamicCache(config=model.config.text_config)
    places = position_ids(mask)
    output = model(**inputs, position_ids=places, past_key_values=past, use_cache=True)
    logits = [output.logits[:, -1]]
    for token in tokens[:, :-1].T:
        mask, places = torch.cat((mask, torch.ones_like(mask[:, :1])), dim=1), places[:, -1:] + 1
        output = model(
            input_ids=token[:, None],
            attention_mask=mask,
            position_ids=places,
            past_key_values=past,
            use_cache=True,
        )
        logits.append(output.logits[:, -1])
    return torch.stack(logits, dim=1)


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> None:
    assert ours.shape == theirs.shape
    error = (ours - theirs).abs().max() / theirs.abs().max()
    assert error <= tolerance, f"{error:.1e} of the largest logit"


def test_forced_tokens_vary_and_so_do_the_logits(variant: str) -> None:
    tokens = forced_tokens()
    assert all(row.unique().numel() > 0.7 * N_STEPS for row in tokens)
    logits = transformers_at_once(variant, prompts(variant), tokens)
    assert logits.argmax(dim=-1).unique().numel() > 10


def test_cached_steps_give_the_logits_of_transformers(vlm: HookedVLM, variant: str) -> None:
    """Of its run of the whole sequence, and of its own cached steps."""
    inputs, tokens = prompts(variant), forced_tokens()
    ours = forced_step_by_step(vlm, inputs, tokens)
    assert_close(ours, transformers_at_once(variant, inputs, tokens))
    assert_close(ours, transformers_step_by_step(variant, inputs, tokens))


def test_uncached_logits_are_those_of_transformers_to_the_bit(vlm: HookedVLM, variant: str) -> None:
    inputs, tokens = prompts(variant), forced_tokens()
    with torch.no_grad():
        ours = vlm(with_tokens(inputs, tokens))[:, inputs["input_ids"].shape[1] - 1 : -1]
    assert torch.equal(ours, transformers_at_once(variant, inputs, tokens))


def test_several_tokens_a_step_give_the_same_logits(vlm: HookedVLM, variant: str) -> None:
    inputs, tokens = prompts(variant), forced_tokens(20)
    assert_close(forced_step_by_step(vlm, inputs, tokens, stride=7), transformers_at_once(variant, inputs, tokens))


@pytest.mark.parametrize(
    "options", [{}, {"static_cache": True}, {"use_cache": False}], ids=["cached", "static", "uncached"]
)
def test_greedy_tokens_and_logits_are_those_of_transformers_generate(
    vlm: HookedVLM, variant: str, options: dict[str, bool]
) -> None:
    inputs, n_steps = prompts(variant), N_STEPS if options.get("use_cache", True) else 12
    expected = tiny_llava(variant).generate(
        **inputs,
        max_new_tokens=n_steps,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=PAD_TOKEN,
        output_logits=True,
        return_dict_in_generate=True,
    )
    ours = vlm.generate(inputs, max_new_tokens=n_steps, eos_token_id=(), **options)
    assert torch.equal(ours.tokens, expected.sequences[:, -n_steps:])
    assert_close(ours.logits, torch.stack(expected.logits, dim=1))


def test_a_row_of_a_batch_generates_what_it_generates_alone(vlm: HookedVLM, variant: str) -> None:
    inputs = prompts(variant)
    together = vlm.generate(inputs, max_new_tokens=12, eos_token_id=())
    padding = int((inputs["attention_mask"][1] == 0).sum())
    alone = {"input_ids": inputs["input_ids"][1:, padding:], "pixel_values": inputs["pixel_values"][1:]}
    by_itself = vlm.generate(alone, max_new_tokens=12, eos_token_id=())
    assert torch.equal(together.tokens[1:], by_itself.tokens)
    assert_close(together.logits[1:], by_itself.logits)


@pytest.mark.parametrize("use_cache", [True, False], ids=["cached", "uncached"])
def test_what_is_cached_over_a_generation_is_what_a_run_of_the_whole_sequence_gives(
    vlm: HookedVLM, variant: str, use_cache: bool
) -> None:
    """Every name, patterns and masks too, at every real position; <= 1e-5 of each activation's largest value."""
    inputs = prompts(variant)
    run = vlm.generate(inputs, max_new_tokens=6, eos_token_id=(), return_cache=True, use_cache=use_cache)
    whole = with_tokens(inputs, run.tokens[:, :-1])  # the last token was chosen and not read
    with torch.no_grad():
        _, expected = vlm.run_with_cache(whole)
    assert set(run.cache.keys()) == set(expected.keys())
    is_real = whole["attention_mask"].bool()
    for name, there in expected.items():
        found = run.cache[name]
        assert found.shape == there.shape, name
        if name.startswith(("vision.", "projector.")):
            assert torch.equal(found, there), name
            continue
        if name.endswith(("hook_attn_scores", "hook_pattern", "hook_mask")):
            found, there = found.movedim(2, 1), there.movedim(2, 1)
        found, there = found[is_real], there[is_real]
        if there.dtype == torch.bool:
            assert torch.equal(found, there), name
            continue
        assert torch.equal(found.isneginf(), there.isneginf()), name
        found, there = found.masked_fill(found.isneginf(), 0), there.masked_fill(there.isneginf(), 0)
        assert (found - there).abs().max() <= 1e-5 * there.abs().max(), name


def test_hooks_are_seen_at_every_step_and_act_at_every_step(plain_vlm: HookedVLM) -> None:
    inputs, seen = prompts(), []

    def push(stream: Tensor, hook: object) -> Tensor:
        seen.append(stream.shape[1])
        return stream + 1.5 * torch.sign(stream)

    plain = plain_vlm.generate(inputs, max_new_tokens=6, eos_token_id=())
    with plain_vlm.hooks(fwd_hooks=[("blocks.1.hook_resid_post", push)]):
        pushed = plain_vlm.generate(inputs, max_new_tokens=6, eos_token_id=())
        at_once = plain_vlm(with_tokens(inputs, pushed.tokens[:, :-1]))[:, -6:]
    assert seen == [inputs["input_ids"].shape[1], 1, 1, 1, 1, 1, inputs["input_ids"].shape[1] + 5]
    assert_close(pushed.logits, at_once.detach())
    assert all((plain.logits[:, step] - pushed.logits[:, step]).abs().max() > 0.01 for step in range(6))


def test_looking_at_a_generation_changes_none_of_its_logits(vlm: HookedVLM, variant: str) -> None:
    inputs = prompts(variant)
    plain = vlm.generate(inputs, max_new_tokens=6, eos_token_id=())
    looked_at = vlm.generate(inputs, max_new_tokens=6, eos_token_id=(), names_filter=lambda name: True)
    assert torch.equal(plain.logits, looked_at.logits)
    assert torch.equal(plain.tokens, looked_at.tokens)


def test_sampling_with_a_seed_is_reproducible_and_another_seed_draws_otherwise(plain_vlm: HookedVLM) -> None:
    inputs = prompts()

    def draw(seed: int) -> Tensor:
        return plain_vlm.generate(inputs, max_new_tokens=20, do_sample=True, seed=seed, eos_token_id=()).tokens

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_sampling_without_a_seed_follows_the_random_state_of_torch(plain_vlm: HookedVLM) -> None:
    inputs, draws = prompts(), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(plain_vlm.generate(inputs, max_new_tokens=10, do_sample=True, eos_token_id=()).tokens)
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_sampling_from_one_candidate_is_greedy(plain_vlm: HookedVLM) -> None:
    inputs = prompts()
    greedy = plain_vlm.generate(inputs, max_new_tokens=8, eos_token_id=()).tokens
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        drawn = plain_vlm.generate(inputs, max_new_tokens=8, do_sample=True, seed=0, eos_token_id=(), **narrow)
        assert torch.equal(drawn.tokens, greedy), narrow


def test_an_end_token_ends_its_row_and_padding_follows(plain_vlm: HookedVLM) -> None:
    """The end token is one that the first row writes; the other row goes on until it writes one of its own."""
    inputs = prompts()
    free = plain_vlm.generate(inputs, max_new_tokens=20, do_sample=True, seed=0, eos_token_id=()).tokens
    step = next(i for i in range(2, 15) if free[0, i] not in free[0, :i] and free[0, i] not in free[1, : i + 3])
    end = int(free[0, step])
    run = plain_vlm.generate(inputs, max_new_tokens=20, do_sample=True, seed=0, eos_token_id=end)
    assert torch.equal(run.tokens[0, : step + 1], free[0, : step + 1])
    assert run.tokens.shape[1] > step + 1, "the other row has not ended yet"
    assert (run.tokens[0, step + 1 :] == plain_vlm.pad_token_id).all()


def test_generation_stops_when_every_row_has_ended(plain_vlm: HookedVLM) -> None:
    inputs = prompts()
    first = plain_vlm.generate(inputs, max_new_tokens=1, eos_token_id=()).tokens[:, 0]
    run = plain_vlm.generate(inputs, max_new_tokens=20, eos_token_id=first.tolist())
    assert run.tokens.tolist() == first[:, None].tolist()


def test_the_end_token_of_the_checkpoint_is_the_default() -> None:
    model = new_llava()
    first = HookedVLM.from_hf(model).generate(prompts(), max_new_tokens=1, eos_token_id=()).tokens[:, 0]
    model.generation_config.eos_token_id = first.tolist()
    assert HookedVLM.from_hf(model).generate(prompts(), max_new_tokens=20).tokens.shape == (2, 1)


def test_a_stream_that_is_left_early_leaves_no_hook(plain_vlm: HookedVLM) -> None:
    inputs = prompts()
    whole = plain_vlm.generate(inputs, max_new_tokens=10, eos_token_id=())
    stream = plain_vlm.stream(inputs, max_new_tokens=10, eos_token_id=(), names_filter="blocks.1.hook_resid_post")
    for step in stream:
        assert all(point.is_idle for point in plain_vlm.hook_dict.values()), "between steps nothing stands"
        assert torch.equal(step.tokens, whole.tokens[:, step.index])
        assert set(step.activations) == {"blocks.1.hook_resid_post"}
        if step.index == 3:
            break
    assert step.index == 3
    again = plain_vlm.generate(inputs, max_new_tokens=10, eos_token_id=())
    assert torch.equal(again.logits, whole.logits)


def test_a_generation_that_fails_leaves_no_hook(plain_vlm: HookedVLM) -> None:
    def fail(step: object) -> None:
        raise RuntimeError("the reader gave up")

    with pytest.raises(RuntimeError, match="gave up"):
        plain_vlm.generate(prompts(), max_new_tokens=5, return_cache=True, on_token=fail)
    assert all(point.is_idle for point in plain_vlm.hook_dict.values())


def test_more_positions_than_the_context_has_are_refused_before_anything_runs(plain_vlm: HookedVLM) -> None:
    inputs = prompts()
    n_ctx, n_prompt = plain_vlm.cfg.n_ctx, inputs["input_ids"].shape[1]
    with pytest.raises(InputError, match=rf"exceeds the context: expected at most {n_ctx} .* got {n_prompt} \+ "):
        plain_vlm.generate(inputs, max_new_tokens=n_ctx - n_prompt + 1)


def test_prompts_that_end_in_padding_are_refused(plain_vlm: HookedVLM) -> None:
    inputs = prompts()
    flipped = {**inputs, "input_ids": inputs["input_ids"].flip(1), "attention_mask": inputs["attention_mask"].flip(1)}
    with pytest.raises(InputError, match="end in padding.* Pad on the left"):
        plain_vlm.generate(flipped, max_new_tokens=2)
