"""The step on fixed shapes: the whole room under a mask, the position a tensor; the same logits up to rounding."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.tiny_models import IMAGE, TEXT_TOKENS, tiny_inputs, tiny_llava
from vlm_lens import HookedTransformer, HookedVLM
from vlm_lens.errors import InputError
from vlm_lens.model.captured_step import captured
from vlm_lens.model.decoding import Decoding
from vlm_lens.model.fixed_step import FixedStep
from vlm_lens.model.key_value_cache import KeyValueCache

N_STEPS = 20
VARIANTS = (
    "llama",
    "mistral, window shorter than the prompt",
    "qwen2, windows in the upper layers",
)
ROWS = {"alone": [(4, IMAGE, 5)], "padded": [(4, IMAGE, 5), (2, IMAGE, 1)]}


@pytest.fixture(params=VARIANTS)
def vlm(request: pytest.FixtureRequest) -> Iterator[HookedVLM]:
    hooked = HookedVLM.from_hf(tiny_llava(request.param))
    yield hooked
    assert all(point.is_idle for point in hooked.hook_dict.values())


@pytest.fixture(params=ROWS)
def inputs(request: pytest.FixtureRequest) -> dict[str, Tensor]:
    return tiny_inputs(tiny_llava(), ROWS[request.param])


def assert_close(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@torch.no_grad()
def forced(vlm: HookedVLM, inputs: dict[str, Tensor], is_fixed: bool, n_watched: int = 0) -> Tensor:
    """[batch step d_vocab]: the logits before each of some random tokens; so many of the middle steps are watched."""
    n_positions = inputs["input_ids"].shape[1] + N_STEPS
    past = KeyValueCache(vlm.cfg.n_layers, FixedStep.capacity(n_positions))
    decoding = Decoding(vlm, past, N_STEPS, is_fixed)
    random = torch.Generator().manual_seed(3)
    tokens = torch.randint(TEXT_TOKENS.start, TEXT_TOKENS.stop, (len(inputs["input_ids"]), N_STEPS), generator=random)
    logits = [decoding.logits(inputs)]
    for index, token in enumerate(tokens.T):
        is_watched = 5 <= index < 5 + n_watched
        with vlm.hooks(fwd_hooks=[("blocks.0.hook_resid_post", lambda value, hook: None)] if is_watched else []):
            logits.append(decoding.logits(token[:, None]))
        assert decoding.was_watched == is_watched
    return torch.stack(logits, dim=1)


def test_steps_on_fixed_shapes_give_the_logits_of_steps_that_grow(vlm: HookedVLM, inputs: dict[str, Tensor]) -> None:
    growing = forced(vlm, inputs, is_fixed=False)
    assert_close(forced(vlm, inputs, is_fixed=True), growing)
    assert growing.argmax(dim=-1).unique().numel() > 5


def test_watched_steps_among_them_write_to_the_same_rooms(vlm: HookedVLM, inputs: dict[str, Tensor]) -> None:
    assert_close(forced(vlm, inputs, is_fixed=True, n_watched=4), forced(vlm, inputs, is_fixed=False))


def test_a_static_cache_generates_the_same(vlm: HookedVLM, inputs: dict[str, Tensor]) -> None:
    options = {"max_new_tokens": N_STEPS, "do_sample": True, "seed": 2, "eos_token_id": ()}
    growing, static = (vlm.generate(inputs, **options, static_cache=one) for one in (False, True))
    assert torch.equal(static.tokens, growing.tokens)
    assert_close(static.logits, growing.logits)


def test_hooks_act_at_every_step_of_a_static_cache(vlm: HookedVLM, inputs: dict[str, Tensor]) -> None:
    def push(stream: Tensor, hook: object) -> Tensor:
        return stream + 1.5 * torch.sign(stream)

    options = {"max_new_tokens": 6, "eos_token_id": ()}
    plain = vlm.generate(inputs, **options, static_cache=True)
    with vlm.hooks(fwd_hooks=[("blocks.1.hook_resid_post", push)]):
        growing, static = (vlm.generate(inputs, **options, static_cache=one) for one in (False, True))
    assert torch.equal(static.tokens, growing.tokens)
    assert_close(static.logits, growing.logits)
    assert (plain.logits - static.logits).abs().amax(dim=(0, 2)).min() > 0.01


def test_the_room_has_its_final_size_from_the_start(vlm: HookedVLM, inputs: dict[str, Tensor]) -> None:
    n_positions = inputs["input_ids"].shape[1] + 9
    past = KeyValueCache(vlm.cfg.n_layers, FixedStep.capacity(n_positions))
    decoding, places = Decoding(vlm, past, 8, is_fixed=True), []
    with torch.no_grad():
        decoding.logits(inputs)
        for _ in range(8):
            decoding.logits(torch.full((len(inputs["input_ids"]), 1), TEXT_TOKENS.start))
            places.append([(layer.keys.data_ptr(), layer.keys.shape) for layer in past.layers])
    assert all(place == places[0] for place in places)
    assert past.layers[0].keys.shape[2] == FixedStep.capacity(n_positions) >= n_positions


def test_a_static_cache_wants_keys_and_values_kept() -> None:
    vlm = HookedVLM.from_hf(tiny_llava())
    inputs = tiny_inputs(tiny_llava(), ROWS["alone"])
    with pytest.raises(InputError, match="static_cache: expected keys and values to be kept, got use_cache=False"):
        vlm.stream(inputs, use_cache=False, static_cache=True)


def test_a_static_cache_refuses_rotary_positions_that_change_with_the_length() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    config = LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
                         vocab_size=64, rope_parameters=rope)  # fmt: skip
    decoder = HookedTransformer.from_hf(LlamaForCausalLM(config).eval())
    tokens = torch.arange(5)[None]
    assert decoder.generate(tokens, max_new_tokens=2, eos_token_id=()).tokens.shape == (1, 2)
    with pytest.raises(InputError, match="the same at every length, got 'dynamic'. Leave out static_cache"):
        decoder.generate(tokens, max_new_tokens=2, static_cache=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="graphs are captured on a GPU")
def test_a_captured_step_reads_what_its_tensors_hold_at_each_replay() -> None:
    device = torch.device("cuda")
    given, held = torch.zeros(4, device=device), torch.zeros(4, device=device)

    def compute() -> Tensor:
        held.copy_(given)
        return 2 * held

    replay, results = captured(compute, device), []
    for value in (1.0, 2.0, 3.0):
        given.fill_(value)
        results.append(replay())
    assert [one.tolist() for one in results] == [[2.0] * 4, [4.0] * 4, [6.0] * 4]
