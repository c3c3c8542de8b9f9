"""A turn packed with others behind a picture is computed as if it were alone."""

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from vlm_lens.demo.architecture import N_PATCHES, llava_config
from vlm_lens.demo.text import Turn
from vlm_lens.demo.training.answer_loss import TASKS, PackedBatch, pack_turns, packed_states
from vlm_lens.demo.training.encoded_turns import TurnEncoder, prompt_of
from vlm_lens.demo.training.packed_attention import PACKED_TURNS, PackedLayout, TurnGroup
from vlm_lens.demo.training.training_run import demo_tokenizer

TOKENIZER = demo_tokenizer()
WEIGHTS = dict.fromkeys(TASKS, 1.0)
TURNS = (
    Turn("Is there a cat in this image?", "", "Yes", "presence"),
    Turn("What is on the bed?", "It is a", "dog", "on"),
    Turn("Where is the dog?", "It is", "on the left", "place"),
    Turn("Describe this image.", "", "A brown dog is on the bed on the left.", "describe"),
)


@pytest.fixture(scope="module")
def llava() -> LlavaForConditionalGeneration:
    torch.manual_seed(0)
    return LlavaForConditionalGeneration(llava_config(TOKENIZER)).eval()


def packed(turns: list[list[Turn]], image_token_id: int) -> PackedBatch:
    encoder = TurnEncoder(TOKENIZER)
    groups = [[[encoder(turn) for turn in turns_of_row] for turns_of_row in turns]]
    groups.append([[encoder(TURNS[-1])] for _ in turns])
    return pack_turns(encoder.prefix, groups, WEIGHTS, image_token_id, N_PATCHES)


@torch.no_grad()
def test_packed_turns_have_the_logits_of_each_turn_alone(
    llava: LlavaForConditionalGeneration,
) -> None:
    rows = [list(TURNS[:3]), [TURNS[2], TURNS[0], TURNS[1]]]
    batch = packed(rows, llava.config.image_token_id)
    pixel_values = torch.randn(2, 3, 96, 96)
    seen = llava.model.vision_tower(pixel_values, output_hidden_states=True)
    features = seen.hidden_states[-2][:, 1:]
    llava.model.language_model.set_attn_implementation(PACKED_TURNS)
    states = packed_states(llava, batch, features)
    logits = llava.lm_head(states).reshape(-1, len(TOKENIZER))[batch.rows]
    llava.model.language_model.set_attn_implementation("sdpa")

    # answers stand group by group, in each group row by row
    in_order = [(row, turn) for row, turns in enumerate(rows) for turn in turns]
    in_order += [(row, TURNS[-1]) for row in range(2)]
    expected, targets = [], []
    for row, turn in in_order:
        prompt = TOKENIZER(prompt_of(turn.question, turn.answer_prefix))["input_ids"]
        answer = TOKENIZER(f"a {turn.answer}", add_special_tokens=False)["input_ids"][1:]
        answer.append(TOKENIZER.eos_token_id)
        at = prompt.index(llava.config.image_token_id)
        ids = [*prompt[:at], *[llava.config.image_token_id] * N_PATCHES, *prompt[at + 1 :], *answer]
        alone = llava(input_ids=torch.tensor([ids]), pixel_values=pixel_values[row : row + 1]).logits
        expected.append(alone[0, -len(answer) - 1 : -1])
        targets += answer
    assert batch.targets.tolist() == targets
    assert (logits - torch.cat(expected)).abs().max() <= 1e-5 * torch.cat(expected).abs().max()


def test_positions_restart_behind_the_prefix_for_every_turn() -> None:
    layout = PackedLayout(3, (TurnGroup(2, 2), TurnGroup(1, 4)))
    assert layout.position_ids().tolist() == [0, 1, 2, 3, 4, 3, 4, 3, 4, 5, 6]
    assert layout.n_positions == 11


def test_only_answers_and_the_end_behind_them_are_targets() -> None:
    encoder = TurnEncoder(TOKENIZER)
    batch = pack_turns(encoder.prefix, [[[encoder(TURNS[1])]]], WEIGHTS | {"on": 5.0})
    assert TOKENIZER.convert_ids_to_tokens(batch.targets.tolist()) == ["▁dog", "</s>"]
    assert batch.weights.tolist() == [5.0, 5.0]
    assert batch.tasks.tolist() == [TASKS.index("on"), -1]
    before = batch.input_ids.flatten()[batch.rows]
    assert TOKENIZER.convert_ids_to_tokens(before.tolist()) == ["▁a", "▁dog"]
