"""What prepare makes equals what the real processor makes, and says what it is."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inputs.tiny_processors import GRID, LLAVA_CHAT, PHI_CHAT, SIDE, grid_for, picture, processor_of
from vlm_lens.errors import InputError
from vlm_lens.inputs import Inputs, prepare
from vlm_lens.inputs.templates import V1_SYSTEM_PROMPT

N = GRID.n_patches
LITERAL = "USER: <image>\nDescribe this image. ASSISTANT:"


shared_processor = cache(processor_of)


def made(images: object, prompt: object, processor: object = None, **options: object) -> Inputs:
    processor = processor or processor_of()
    options = {"image_token_id": processor.image_token_id, "grid_for": grid_for} | options
    return prepare(processor, images, prompt, **options)


def words_of(inputs: Inputs, role: str, row: int = 0) -> str:
    """The text of the positions with a role."""
    strings = inputs.layout.str_tokens(row)
    return "".join(strings[position] for position in inputs.layout.positions(role, row)).strip()


@pytest.mark.parametrize("kind", ["sentencepiece", "byte level"])
@pytest.mark.parametrize(
    "prompt",
    [
        LITERAL,
        "USER: <image>\nIs there a cat in this image? ASSISTANT: It is a",
        "<|user|>\n<image>Is it a café, 猫, 🐈?<|end|>\n<|assistant|>\n",
        "USER: <image>",
        "<image>",
        "  <image>  two  spaces",
    ],
)
def test_tokens_and_pixels_are_those_of_the_processor(kind: str, prompt: str) -> None:
    processor = processor_of(kind)
    inputs = made(picture(), prompt, processor)
    theirs = processor(images=picture(), text=prompt, return_tensors="pt")
    assert torch.equal(inputs.input_ids, theirs["input_ids"])
    assert torch.equal(inputs.attention_mask, theirs["attention_mask"])
    assert torch.equal(inputs.pixel_values, theirs["pixel_values"])
    assert inputs.prompts == (prompt,)


@pytest.mark.parametrize("kind", ["sentencepiece", "byte level"])
@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=25))
@settings(max_examples=25)
def test_the_texts_of_the_tokens_spell_the_prompt(kind: str, text: str) -> None:
    inputs = made(picture(), "USER: <image>\nx" + text, shared_processor(kind))
    spelled = inputs.layout.text().removeprefix("<s>").lstrip(" ")
    assert spelled == ("USER: \nx" + text)


def test_a_batch_equals_the_processors_left_padded_batch_and_leaves_it_as_it_was() -> None:
    processor = processor_of()
    processor.tokenizer.padding_side = "right"
    prompts = [LITERAL, "USER: <image>\nIs there a cat in this image? ASSISTANT:", "no picture here"]
    inputs = made([picture(), picture(33, 29, 1), None], prompts, processor)
    assert processor.tokenizer.padding_side == "right"
    processor.tokenizer.padding_side = "left"
    theirs = processor(images=[[picture()], [picture(33, 29, 1)], []], text=prompts, padding=True, return_tensors="pt")
    assert torch.equal(inputs.input_ids, theirs["input_ids"])
    assert torch.equal(inputs.attention_mask, theirs["attention_mask"])
    assert torch.equal(inputs.pixel_values, theirs["pixel_values"])
    assert [len(spans) for spans in inputs.layout.images] == [1, 1, 0]


def test_a_row_of_a_batch_equals_the_row_made_alone() -> None:
    pictures, prompts = [picture(), picture(20, 90, 1)], [LITERAL, "Is there a cat or a dog in this image?"]
    batch = made(pictures, prompts)
    for row in range(2):
        alone, cut = made(pictures[row], prompts[row]), batch.row(row)
        assert torch.equal(alone.input_ids, cut.input_ids)
        assert torch.equal(alone.pixel_values, cut.pixel_values)
        assert alone.layout.roles() == cut.layout.roles()
        assert alone.layout.images == cut.layout.images
        assert alone.layout.str_tokens() == cut.layout.str_tokens()
        assert alone.prompts == cut.prompts
        assert alone.images[0].tobytes() == cut.images[0].tobytes()


def test_roles_of_a_literal_prompt() -> None:
    inputs = made(picture(), "Hello. USER: <image>\nIs it a cat? ASSISTANT: It is a")
    assert words_of(inputs, "bos") == "<s>"
    assert words_of(inputs, "system") == "Hello."
    assert words_of(inputs, "role").split() == ["USER:", "ASSISTANT:"]
    assert words_of(inputs, "question") == "Is it a cat?"
    assert words_of(inputs, "answer") == "It is a"
    assert len(inputs.layout.positions("image")) == N


def test_a_prompt_without_markers_is_question_throughout() -> None:
    inputs = made(picture(), "<image>\nIs it a cat?")
    assert set(inputs.layout.roles()) == {"bos", "image", "question"}


def test_the_v1_template_has_its_system_prompt() -> None:
    inputs = made(picture(), "describe the image", template="v1")
    assert inputs.prompts[0] == f"{V1_SYSTEM_PROMPT} USER: <image>\ndescribe the image ASSISTANT:"
    assert words_of(inputs, "system") == V1_SYSTEM_PROMPT
    assert words_of(inputs, "question") == "describe the image"


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("llava", "USER: <image>\nIs it a cat? ASSISTANT:"),
        ("phi3", "<|user|>\n<image>\nIs it a cat?<|end|>\n<|assistant|>\n"),
        ("chatml", "<|im_start|>user\n<image>\nIs it a cat?<|im_end|>\n<|im_start|>assistant\n"),
        ("plain", "<image>\nIs it a cat?"),
    ],
)
def test_named_templates_and_the_same_prompt_taken_literally_agree(template: str, prompt: str) -> None:
    named = made(picture(), "Is it a cat?", template=template)
    literal = made(picture(), prompt)
    assert named.prompts == literal.prompts
    assert words_of(named, "question") == "Is it a cat?"
    assert named.layout.roles() == literal.layout.roles()


def test_a_question_goes_through_the_checkpoints_chat_template() -> None:
    processor = processor_of(chat_template=LLAVA_CHAT)
    inputs = made(picture(), "Is the USER: a cat?", processor, template="chat")
    conversation = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is the USER: a cat?"}]}]
    assert inputs.prompts[0] == processor.apply_chat_template(conversation, add_generation_prompt=True)
    assert words_of(inputs, "question") == "Is the USER: a cat?"
    assert words_of(inputs, "role").split() == ["USER:", "ASSISTANT:"]
    assert made(picture(), "Is it a cat?", processor).prompts == made(picture(), "Is it a cat?").prompts


def test_a_chat_template_of_the_tokenizer_alone_gets_its_images_as_markers() -> None:
    processor = processor_of()
    processor.tokenizer.chat_template = PHI_CHAT
    inputs = made(picture(), "Is it a cat?", processor)
    assert inputs.prompts[0] == (
        "<|system|>\nBe brief.<|end|>\n<|user|>\n<image>\nIs it a cat?<|end|>\n<|assistant|>\n"
    )
    assert words_of(inputs, "system") == "Be brief."
    assert words_of(inputs, "question") == "Is it a cat?"


def test_a_template_that_writes_bos_itself_gets_it_once() -> None:
    processor = processor_of(chat_template="<s>" + LLAVA_CHAT)
    inputs = made(picture(), "Is it a cat?", processor)
    assert inputs.layout.positions("bos") == (0,)


def test_several_images_in_one_prompt() -> None:
    inputs = made([picture(), picture(30, 30, 1)], "USER: <image> or <image>? ASSISTANT:")
    first, second = inputs.layout.images[0]
    assert (first.n_positions, second.n_positions) == (N, N)
    assert first.stop < second.start
    assert (first.original_size, second.original_size) == ((40, 60), (30, 30))
    assert first.fingerprint != second.fingerprint
    adjacent = made([picture(), picture(30, 30, 1)], "<image><image>")
    assert adjacent.layout.images[0][1].start == adjacent.layout.images[0][0].stop


def test_several_pictures_and_a_question_go_before_it() -> None:
    inputs = made([picture(), picture(30, 30, 1)], "Which is a cat?")
    assert inputs.prompts == ("USER: <image>\n<image>\nWhich is a cat? ASSISTANT:",)


def test_one_picture_is_shown_to_every_prompt() -> None:
    inputs = made(picture(), [LITERAL, "Is it a cat?"])
    assert inputs.pixel_values.shape == (2, 3, SIDE, SIDE)
    assert inputs.layout.image_span(row=0).fingerprint == inputs.layout.image_span(row=1).fingerprint


def test_a_text_alone_has_no_image() -> None:
    inputs = made(None, "the quick brown fox")
    assert inputs.pixel_values is None
    assert inputs.layout.positions("image") == ()
    assert list(inputs) == ["input_ids", "attention_mask"]


def test_a_class_token_that_is_kept_takes_a_position_before_the_patches() -> None:
    inputs = made(picture(), LITERAL, n_class_tokens=1)
    assert len(inputs.layout.positions("image")) == N + 1
    assert inputs.layout.patches().positions == inputs.layout.positions("image")[1:]


def test_padding_to_a_square_uses_the_mean_colour_and_shows_all_of_the_picture() -> None:
    inputs = made(picture(20, 60), LITERAL, pad_to_square=True)
    span = inputs.layout.image_span()
    boxes = span.geometry.patch_boxes(span.grid)
    assert boxes[0, 0, :2].tolist() == [0, 0] and boxes[-1, -1, 2:].tolist() == [20, 60]
    # The first rows are padding, which the mean colour makes nearly 0 after normalisation.
    assert inputs.pixel_values[0, :, :5].abs().max() < 0.02


@pytest.mark.parametrize(
    ("images", "prompt", "options", "message"),
    [
        (1, "USER: hello ASSISTANT:", {}, r"as many <image> in the prompt as images \(1\), got 0"),
        (1, "hello", {"template": "literal"}, r"images \(1\), got 0"),
        (0, LITERAL, {}, r"images \(0\), got 1"),
        (2, LITERAL, {}, r"images \(2\), got 1.*list of prompts for a batch"),
        (1, "USER: <image> <image>", {}, r"images \(1\), got 2"),
        (1, "Is it?", {"template": "v7"}, "Unknown template: expected one of v1, .* got 'v7'"),
        (1, "Is it?", {"template": "chat"}, "a checkpoint with a chat template"),
        (1, LITERAL, {"max_length": 20}, "longer than the context: expected at most 20 positions"),
        (0, [], {}, "Batch is empty"),
        (1, ["a", "b"], {"as_list": True}, "images for each of 2 prompts, got 1"),
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_refused(images: int, prompt: object, options: dict, message: str) -> None:
    pictures: object = [picture(seed=seed) for seed in range(images)]
    if images < 2 and not options.pop("as_list", False):
        pictures = pictures[0] if pictures else None
    with pytest.raises(InputError, match=message):
        made(pictures, prompt, **options)


def test_an_empty_prompt_without_any_token_is_refused() -> None:
    with pytest.raises(InputError, match="Prompt is empty"):
        made(None, "", processor_of("byte level"))


def test_a_picture_that_resizing_would_make_gigantic_is_refused() -> None:
    with pytest.raises(InputError, match="too long and thin.*1 x 400000, resized to 28 x 11200000"):
        made(picture(1, 400_000), LITERAL)


def test_a_slow_tokenizer_is_refused() -> None:
    processor = processor_of()
    processor.tokenizer = SlowTokenizer()
    with pytest.raises(InputError, match="a fast tokenizer.*got SlowTokenizer"):
        made(None, "hello", processor)


class SlowTokenizer:
    is_fast = False
    bos_token_id = eos_token_id = pad_token_id = None
    chat_template = None

    def __call__(self, text: str, **options: object) -> dict:
        return {}

    def decode(self, token_ids: object, **options: object) -> str:
        return ""

    def convert_ids_to_tokens(self, ids: object, **options: object) -> str:
        return ""
