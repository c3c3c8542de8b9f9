"""A compressed context answers as the whole model would, were the dropped image tokens blocked from the new text."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.interventions.plain_transformers import Plain, edges
from tests.model.tiny_vlms import FAMILIES, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import IMAGE, tiny_llava
from tests.tiny_models import tiny_inputs as new_mapping
from vlm_lens import AttentionFlow, AttentionKnockout, HookedVLM, Inputs, TopKContext
from vlm_lens.context import CompressedContext, ReadPrompt, read_prompt
from vlm_lens.demo.examples import example_scenes

QUESTION = "Is there a cat in this image?"
WITHOUT_WINDOWS = [family for family in FAMILIES if family != "sliding window"]
N_STEPS = 5


def one_row(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm).row(0)


def continued(inputs: Inputs, tokens: Tensor) -> Inputs:
    for token in tokens[0]:
        inputs = inputs.continued(token[None])
    return inputs


def new_tokens(n: int = 5, rows: int = 1) -> Tensor:
    return torch.randint(300, 500, (rows, n), generator=torch.Generator().manual_seed(7))


def naive_logits(family: str, inputs: Inputs, tokens: Tensor, context: CompressedContext) -> Tensor:
    """Plain transformers on the whole sequence; new text is blocked from what each layer has dropped, by a loop."""
    checkpoint = tiny_checkpoint(family)
    config, n_prompt = checkpoint.config.text_config, inputs.shape[1]
    new = range(n_prompt, n_prompt + tokens.shape[1])
    blocked: set[Any] = set()
    for layer in range(config.num_hidden_layers):
        dropped = [position for position in range(n_prompt) if not context.is_kept[layer, position]]
        blocked |= edges("decoder", [layer], range(config.num_attention_heads), 0, new, dropped)
    return Plain(checkpoint).logits(continued(inputs, tokens), blocked)[:, n_prompt:]


def largest(values: Tensor) -> float:
    return float(values.abs().max())


# What is equal to what


@pytest.mark.parametrize("variant", ["both", "query", "image"])
@pytest.mark.parametrize("family", WITHOUT_WINDOWS)
@torch.no_grad()
def test_logits_equal_plain_transformers_with_the_dropped_tokens_blocked(family: str, variant: str) -> None:
    vlm = tiny_vlm(family)
    inputs, tokens = one_row(vlm), new_tokens()
    context = vlm.compress(inputs, keep=0.25, variant=variant, max_new_tokens=N_STEPS)
    expected = naive_logits(family, inputs, tokens, context)
    # Rounding alone: the same sums over fewer keys.
    assert largest(context.logits(tokens) - expected) <= 1e-5 * largest(expected)
    whole = vlm(continued(inputs, tokens))[:, inputs.shape[1] :]
    assert largest(whole - expected) > 1e-3 * largest(expected)


@pytest.mark.parametrize("family", WITHOUT_WINDOWS)
@torch.no_grad()
def test_everything_kept_is_the_whole_model(family: str) -> None:
    vlm = tiny_vlm(family)
    inputs, tokens = one_row(vlm), new_tokens()
    context = vlm.compress(inputs, keep=1.0, max_new_tokens=N_STEPS)
    whole = vlm(continued(inputs, tokens))[:, inputs.shape[1] :]
    assert largest(context.logits(tokens) - whole) <= 1e-5 * largest(whole)
    assert context.n_bytes_saved == 0 and context.n_dropped == 0


@torch.no_grad()
def test_the_bundled_model_with_everything_kept_answers_as_without(demo: HookedVLM, read: ReadPrompt) -> None:
    context = read.compressed(1.0)
    for question in (QUESTION, "What is on the bed?", "What color is the cat?"):
        answer = context.ask(question, max_new_tokens=12)
        question_tokens = answer.inputs.input_ids
        whole = demo.generate(continued(read.inputs, question_tokens), max_new_tokens=12)
        assert torch.equal(answer.tokens, whole.tokens)
        assert largest(answer.logits - whole.logits) <= 1e-5 * largest(whole.logits)
    assert context.ask(QUESTION).text == "Yes"  # a cat on a bed


@torch.no_grad()
def test_it_is_what_top_k_context_leaves_of_the_whole_model(demo: HookedVLM, read: ReadPrompt) -> None:
    context = read.compressed(0.1)
    answer = context.ask("What is on the bed? ASSISTANT: It is a", max_new_tokens=4)
    prompt = continued(read.inputs, answer.inputs.input_ids)
    new = slice(read.inputs.shape[1], None)
    blocker = TopKContext(0.1, read.ranking, queries=[new, "generated"])
    whole = demo.generate(prompt, blocker, max_new_tokens=4)
    assert torch.equal(answer.tokens, whole.tokens)
    assert largest(answer.logits - whole.logits) <= 1e-5 * largest(whole.logits)


@torch.no_grad()
def test_a_cached_answer_equals_the_uncached_loop(read: ReadPrompt) -> None:
    context = read.compressed(0.05)
    answer = context.ask("Describe this image.", max_new_tokens=8, eos_token_id=())
    question = answer.inputs.input_ids
    loop = context.logits(torch.cat((question, answer.tokens[:, :-1]), dim=1))[:, question.shape[1] - 1 :]
    assert largest(answer.logits - loop) <= 1e-4
    assert torch.equal(answer.tokens, loop.argmax(dim=-1))


@torch.no_grad()
def test_each_of_several_questions_is_answered_as_if_alone(read: ReadPrompt) -> None:
    context = read.compressed(0.1)
    questions = [QUESTION, "What is on the bed?", "Is there a dog? ASSISTANT:"]
    together = context.ask(questions, max_new_tokens=4, eos_token_id=())
    for row, question in enumerate(questions):
        alone = context.ask(question, max_new_tokens=4, eos_token_id=())
        assert torch.equal(together.tokens[row], alone.tokens[0])
        assert largest(together.logits[row] - alone.logits[0]) <= 1e-5 * largest(alone.logits)


def test_asking_changes_nothing(read: ReadPrompt) -> None:
    context = read.compressed(0.1)
    before = [one.clone() for one in (*context.keys, *context.values)]
    first = context.ask(QUESTION, max_new_tokens=6, eos_token_id=())
    context.ask(["What is on the bed?", QUESTION])
    again = context.ask(QUESTION, max_new_tokens=6, eos_token_id=())
    assert torch.equal(first.logits, again.logits)
    assert all(map(torch.equal, before, (*context.keys, *context.values)))


# What is kept


@torch.no_grad()
def test_the_ranking_is_the_mean_attention_of_the_rows_that_predict() -> None:
    vlm = tiny_vlm()
    inputs = one_row(vlm)
    run = vlm.generate(inputs, max_new_tokens=N_STEPS, eos_token_id=())
    context = vlm.compress(inputs, keep=0.25, max_new_tokens=N_STEPS)
    plain = Plain(tiny_checkpoint())
    n_steps = next((step + 1 for step, token in enumerate(run.tokens[0].tolist()) if token == 2), N_STEPS)
    plain.logits(continued(inputs, run.tokens[:, : n_steps - 1]))
    image, last = list(inputs.layout.positions("image")), inputs.shape[1] - 1
    for layer in range(vlm.cfg.n_layers):
        pattern = plain.patterns["decoder", layer][0, :, last:, image]
        assert pattern.shape[1] == n_steps
        torch.testing.assert_close(context.ranking[layer], pattern.mean(dim=(0, 1)), atol=1e-6, rtol=1e-4)
        best = context.ranking[layer].topk(len(image) // 4).indices
        assert set(context.is_image_token_kept[layer].nonzero().flatten().tolist()) == set(best.tolist())


def test_the_ranking_is_that_of_attention_flow(demo: HookedVLM, read: ReadPrompt) -> None:
    flow = AttentionFlow("predicting")
    found = demo.generate(read.inputs, flow, max_new_tokens=N_STEPS)[flow]
    torch.testing.assert_close(read.ranking, found.image_attention[0], atol=1e-7, rtol=1e-4)


def test_variants_keep_text_image_tokens_or_both(read: ReadPrompt) -> None:
    layout = read.inputs.layout
    n_text, n_image = len(layout.positions("text")), len(layout.positions("image"))
    both, query, image = (read.compressed(0.1, variant) for variant in ("both", "query", "image"))
    n = int(0.1 * n_image)
    assert (both.n_kept, query.n_kept, image.n_kept) == (n_text + n, n_text, 1 + n)
    assert read.compressed(0.1, "image", keeps_bos=False).n_kept == n
    assert torch.equal(read.compressed(0.0).is_kept, query.is_kept)
    assert torch.equal(both.is_kept, query.is_kept | image.is_kept)
    assert both.next_position == query.next_position == layout.n_positions


def test_controls_keep_as_many_others(read: ReadPrompt) -> None:
    top, bottom, drawn, again, other = (
        read.compressed(0.25, order=order, seed=seed).is_image_token_kept
        for order, seed in (("top", 0), ("bottom", 0), ("random", 0), ("random", 0), ("random", 1))
    )
    assert torch.equal(drawn, again) and not torch.equal(drawn, other)
    assert not bool((top & bottom).any())
    assert top.sum() == bottom.sum() == drawn.sum()


def test_it_says_what_it_holds_and_saves(read: ReadPrompt) -> None:
    context = read.compressed(0.05)
    per_position = 2 * 4 * read.model.cfg.n_kv * read.model.cfg.d_head * read.model.cfg.n_layers
    assert context.n_bytes == per_position * context.n_kept
    assert context.n_bytes_saved == per_position * context.n_dropped
    assert re.match(r"CompressedContext\(both: 18 of 155 positions in each of 6 layers, 7 of 144 image", repr(context))
    assert "<td>7</td><td>144</td>" in context._repr_html_()
    frame = context.to_dataframe()
    assert len(frame) == 6 * 144 and frame.groupby("layer").is_kept.sum().tolist() == [7] * 6
    first = frame[frame.is_kept & (frame.layer == 0)]
    assert first.attention.min() >= frame[~frame.is_kept & (frame.layer == 0)].attention.max()


def test_the_figure_shows_each_patch_as_often_as_it_is_kept(read: ReadPrompt) -> None:
    context = read.compressed(0.05)
    figure = context.plot()
    counts = context.is_image_token_kept.sum(dim=0).reshape(12, 12).numpy()
    shown = figure.data[0].customdata
    assert [[int(re.findall(r"\d+", cell)[0]) for cell in row] for row in shown] == counts.tolist()
    assert len(figure.frames) == 7 and len(figure.layout.images) == 1
    of_layer = figure.frames[3].data[0].z
    assert (of_layer.reshape(-1) > 0).tolist() == context.is_image_token_kept[2].tolist()


def test_a_position_before_the_picture_knows_nothing_of_it(demo: HookedVLM, read: ReadPrompt) -> None:
    other = read_prompt(demo, example_scenes()[4].scene.image, prompt="Describe this image.", max_new_tokens=1)
    blind = [one.compressed(0.0, "image").logits("Is there a cat") for one in (read, other)]
    assert torch.equal(blind[0], blind[1])
    seeing = [one.compressed(0.0, "query").logits("Is there a cat") for one in (read, other)]
    assert not torch.equal(seeing[0], seeing[1])


# What goes in


def test_a_picture_or_inputs_or_inputs_with_another_prompt(demo: HookedVLM, read: ReadPrompt) -> None:
    image = example_scenes()[0].scene.image
    prepared = demo.prepare(image, QUESTION)
    assert demo.compress(image, max_new_tokens=1).inputs.prompts == ("USER: <image>\ndescribe the image ASSISTANT:",)
    assert demo.compress(prepared, max_new_tokens=1).inputs.prompts == prepared.prompts
    changed = demo.compress(prepared, prompt="Describe this image.", max_new_tokens=N_STEPS)
    assert changed.inputs.prompts == read.inputs.prompts and changed.description == read.description
    torch.testing.assert_close(changed.ranking, read.ranking)


def test_interventions_are_in_force_while_the_prompt_is_read(demo: HookedVLM, read: ReadPrompt) -> None:
    cut = read_prompt(demo, read.inputs, AttentionKnockout("all", "image"), max_new_tokens=3)
    assert float(cut.ranking.abs().max()) == 0.0
    other = demo.compress(read.inputs, AttentionKnockout("question", "image"), keep=0.1, max_new_tokens=3)
    assert not torch.equal(other.logits("Yes"), demo.compress(read.inputs, keep=0.1, max_new_tokens=3).logits("Yes"))


def test_new_text_is_the_question_and_what_stands_behind_it(read: ReadPrompt) -> None:
    context = read.compressed(0.0)

    def text(question: str, template: str | None = None) -> str:
        return context.ask(question, max_new_tokens=1, template=template).inputs.layout.text().strip()

    assert text("Why?") == text("Why?", "llava") == text("Why?", "v1") == "Why? ASSISTANT:"
    assert text("Why?", "plain") == text("Why?", "literal") == "Why?"
    assert text("Why? ASSISTANT: It is") == "Why? ASSISTANT: It is"
    assert text("Why?", "chatml") == "Why?<|im_end|>\n<|im_start|>assistant"
    assert "bos" not in context.ask("Why?", max_new_tokens=1).inputs.layout.roles()


def test_padding_beside_a_prompt_makes_no_difference() -> None:
    vlm = tiny_vlm()
    row = tiny_inputs(vlm).row(1)
    pad = torch.zeros_like(row.input_ids[:, :3])
    padded = vlm.as_inputs(
        {
            "input_ids": torch.cat((pad, row.input_ids), dim=1),
            "attention_mask": torch.cat((pad, row.attention_mask), dim=1),
            "pixel_values": row["pixel_values"],
        }
    )
    alone, beside = (vlm.compress(one, keep=0.25, max_new_tokens=3) for one in (row, padded))
    assert torch.equal(alone.is_kept, beside.is_kept)
    assert torch.equal(alone.logits(new_tokens()), beside.logits(new_tokens()))


@torch.no_grad()
def test_several_pictures_with_their_class_tokens_are_ranked_together() -> None:
    checkpoint = tiny_llava("class token kept")
    vlm = HookedVLM.from_hf(checkpoint)
    inputs = vlm.as_inputs(new_mapping(checkpoint, [(2, IMAGE, 3, IMAGE, 4)]))
    context, tokens = vlm.compress(inputs, keep=0.5, max_new_tokens=2), new_tokens()
    spans = inputs.layout.images[0]
    n_image_tokens = sum(span.n_positions for span in spans)
    assert context.ranking.shape == (vlm.cfg.n_layers, n_image_tokens)
    assert context.is_image_token_kept.sum(dim=1).tolist() == [n_image_tokens // 2] * vlm.cfg.n_layers
    frame = context.to_dataframe()
    assert frame.patch_row.isna().sum() == 2 * vlm.cfg.n_layers  # one class token a picture
    assert frame.is_kept.sum() == context.is_image_token_kept.sum()
    for image in (0, 1):
        shown = frame[(frame.image == image) & frame.is_kept & frame.patch_row.notna()]
        cells = context.plot(image).data[0].customdata.flatten()
        assert sum(int(re.findall(r"\d+", cell)[0]) for cell in cells) == len(shown)
    whole = vlm.compress(inputs, keep=1.0, max_new_tokens=2)
    expected = vlm(continued(inputs, tokens))[:, inputs.shape[1] :]
    assert largest(whole.logits(tokens) - expected) <= 1e-5 * largest(expected)


def standing(vlm: HookedVLM) -> Sequence[str]:
    return [name for name, point in vlm.hook_dict.items() if not point.is_idle]


def test_no_hook_is_left(demo: HookedVLM, read: ReadPrompt) -> None:
    read.compressed(0.05).ask(QUESTION)
    with pytest.raises(KeyboardInterrupt):
        read.compressed(0.05).ask(QUESTION, on_token=_interrupt)
    assert not standing(demo) and not demo._forward_hooks and not demo._forward_pre_hooks


def _interrupt(step: object) -> None:
    raise KeyboardInterrupt
