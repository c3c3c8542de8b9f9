"""The logit lens against `transformers`, whose states are normed and unembedded here, one vector after the other."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import LlamaForCausalLM, LlavaForConditionalGeneration

from tests.model.tiny_vlms import FAMILIES, tiny_checkpoint, tiny_inputs, tiny_vlm
from tests.tiny_models import D_VOCAB, filled, llama
from vlm_lens import AttentionKnockout, HookedTransformer, HookedVLM, LogitLens
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.attachments.running.passes import first_pass
from vlm_lens.demo.examples import example_scenes
from vlm_lens.errors import EmptySelectionError, HookError, InputError, PositionError
from vlm_lens.probes import LensReading

TARGETS = {"one": 7, "three": [300, 301, 499]}
EXACT = 1e-6  # probabilities: fp32 logits of some ten digits, the same products in another order


def states_of(checkpoint: LlavaForConditionalGeneration, inputs: Any) -> list[Tensor]:
    """What enters the first layer and leaves each, before the final norm."""
    states: list[Tensor] = []
    decoder = checkpoint.model.language_model
    handles = [
        decoder.layers[0].register_forward_pre_hook(lambda _, args, kwargs: states.append(args[0]), with_kwargs=True),
        *(
            layer.register_forward_hook(lambda _, args, out: states.append(out[0] if isinstance(out, tuple) else out))
            for layer in decoder.layers
        ),
    ]
    with torch.no_grad():
        checkpoint(**inputs)
    for handle in handles:
        handle.remove()
    return states


def distributions(checkpoint: LlavaForConditionalGeneration, states: list[Tensor]) -> Tensor:
    """[state batch pos d_vocab], in fp64 from the fp32 logits."""
    with torch.no_grad():
        norm, head = checkpoint.model.language_model.norm, checkpoint.lm_head
        return torch.stack([head(norm(state)).double().softmax(dim=-1) for state in states])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_state_is_read_as_transformers_would(family: str) -> None:
    vlm, checkpoint = tiny_vlm(family), tiny_checkpoint(family)
    inputs, lens = tiny_inputs(vlm), LogitLens(top_k=4, targets=TARGETS)
    reading = vlm.run(inputs, lens)[lens]
    expected = distributions(checkpoint, states_of(checkpoint, inputs))
    assert reading.states == ("embed", "0", "1")
    real = [(row, position) for row in range(2) for position in inputs.layout.positions("all", row)]
    assert list(zip(reading.rows.tolist(), reading.positions.tolist(), strict=True)) == real
    for place, (row, position) in enumerate(real):
        for state in range(3):
            naive = expected[state, row, position].numpy()
            best = np.sort(naive)[::-1][:4]
            np.testing.assert_allclose(reading.top_probabilities[state, place], best, atol=EXACT)
            np.testing.assert_allclose(naive[reading.top_ids[state, place]], best, atol=EXACT)  # up to ties
            entropy = -(naive * np.log(naive)).sum()
            assert reading.entropy[state, place] == pytest.approx(entropy, abs=1e-5)
            for number, group in enumerate(([7], [300, 301, 499])):
                summed, others = naive[group].sum(), np.delete(naive, group)
                assert reading.target_probabilities[state, place, number] == pytest.approx(summed, abs=EXACT)
                assert reading.target_ranks[state, place, number] == 1 + (others > summed).sum()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_state_is_the_models_own_prediction(family: str) -> None:
    """Normed once: twice would be another distribution."""
    vlm = tiny_vlm(family)
    inputs, lens = tiny_inputs(vlm), LogitLens(layers=-1, top_k=D_VOCAB)
    run = vlm.run(inputs, lens)
    reading, probabilities = run[lens], run.logits.softmax(dim=-1)
    own = probabilities[reading.rows, reading.positions]
    scattered = torch.zeros_like(own).scatter(
        1, torch.tensor(reading.top_ids[0]), torch.tensor(reading.top_probabilities[0])
    )
    torch.testing.assert_close(scattered, own, atol=EXACT, rtol=0)
    twice = vlm.unembed.linear(vlm.ln_final.norm(vlm.ln_final.norm(states_of(tiny_checkpoint(family), inputs)[-1])))
    assert (twice.softmax(dim=-1)[reading.rows, reading.positions] - own).abs().max() > 100 * EXACT


def test_neither_memory_nor_the_choice_of_positions_and_layers_changes_what_is_read() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    whole, one_by_one = LogitLens(targets=TARGETS), LogitLens(targets=TARGETS, memory=1)
    part = LogitLens(targets=TARGETS, positions={0: "last", 1: [-2, -1]}, layers=["embed", 1])
    run = vlm.run(inputs, whole, one_by_one, part)
    for name in ("top_ids", "target_ranks"):
        assert np.array_equal(getattr(run[whole], name), getattr(run[one_by_one], name))
    np.testing.assert_allclose(run[whole].top_probabilities, run[one_by_one].top_probabilities, atol=EXACT)
    assert run[part].states == ("embed", "1")
    chosen = [
        list(zip(run[whole].rows, run[whole].positions, strict=True)).index(place)
        for place in zip(run[part].rows, run[part].positions, strict=True)
    ]
    assert len(chosen) == 3
    np.testing.assert_allclose(
        run[part].target_probabilities, run[whole].target_probabilities[[0, 2]][:, chosen], atol=EXACT
    )


@pytest.mark.parametrize(
    "layers, states",
    [
        ("all", ("embed", "0", "1")),
        ("embed", ("embed",)),
        (["embed"], ("embed",)),
        (0, ("0",)),
        (-1, ("1",)),
        ([1, "embed"], ("embed", "1")),
        (range(2), ("0", "1")),
        (slice(1, None), ("1",)),
        ((0.5, 1.0), ("1",)),
    ],
)
def test_states_are_named_by_the_layer_before_them(layers: Any, states: tuple[str, ...]) -> None:
    vlm, lens = tiny_vlm(), LogitLens(layers=layers)
    reading = vlm.run(tiny_inputs(vlm), lens)[lens]
    assert reading.states == states
    assert reading.layers == tuple(-1 if state == "embed" else int(state) for state in states)


def test_the_lens_calls_no_hook_and_moves_no_bit() -> None:
    vlm = tiny_vlm()
    inputs, calls = tiny_inputs(vlm), []
    names = ("ln_final.hook_scale", "ln_final.hook_normalized", "unembed.hook_in", "unembed.hook_out")
    hooks = [(name, lambda activation, hook: calls.append(hook.name)) for name in names]
    with vlm.hooks(fwd_hooks=hooks):
        vlm.run(inputs, LogitLens())
    assert sorted(calls) == sorted(names)  # the model's own pass, once each
    assert torch.equal(vlm.run(inputs, LogitLens()).logits, vlm.run(inputs).logits)


def test_the_lens_sees_what_was_written_before_it() -> None:
    vlm, lens = tiny_vlm(), LogitLens(targets=[7])
    inputs = tiny_inputs(vlm)
    knockout = AttentionKnockout("last", "image", layers=1)
    cut, clean = vlm.run(inputs, knockout, lens)[lens], vlm.run(inputs, lens)[lens]
    is_last = np.array([position == inputs.shape[1] - 1 for position in cut.positions])
    moved = (cut.target_log_probabilities != clean.target_log_probabilities)[:, :, 0]
    assert not moved[:2].any() and not moved[2, ~is_last].any() and moved[2, is_last].all()


def test_under_cached_generation_it_reads_every_position_that_was_run() -> None:
    """Step by step, the same as one pass over the whole sequence; caching rounds otherwise (1e-4 is the contract)."""
    vlm, lens = tiny_vlm(), LogitLens(targets=TARGETS)
    inputs = tiny_inputs(vlm)
    run = vlm.generate(inputs, lens, max_new_tokens=4, eos_token_id=())
    whole = inputs
    for step in range(3):
        whole = whole.continued(run.tokens[:, step])
    expected, found = vlm.run(whole, lens)[lens], run[lens]
    assert np.array_equal(found.rows, expected.rows) and np.array_equal(found.positions, expected.positions)
    np.testing.assert_allclose(found.target_probabilities, expected.target_probabilities, atol=1e-4)
    np.testing.assert_allclose(found.top_probabilities, expected.top_probabilities, atol=1e-4)
    predicting = LogitLens(positions="predicting", layers=-1, top_k=1)
    again = vlm.generate(inputs, predicting, max_new_tokens=4, eos_token_id=())[predicting]
    assert np.array_equal(again.top_ids.reshape(2, 4), run.tokens.numpy())  # the last state says what was generated


def test_a_lens_on_the_last_position_reads_the_unembedding_once_a_pass() -> None:
    vlm, lens, products = tiny_vlm(), LogitLens(positions="last"), []
    inputs = tiny_inputs(vlm)
    with vlm.attach(lens):
        handle = vlm.unembed.linear.register_forward_hook(lambda _, args, out: products.append(args[0].shape[:-1]))
        vlm(inputs)
        handle.remove()
    assert sorted(map(len, products)) == [1, 2]  # the lens's own, of places; and the model's, of rows and positions
    assert min(products, key=len) == (3 * 2,)  # 3 states of 2 rows


def test_what_a_lens_asks_for_is_what_it_reads() -> None:
    """A sweep may compute those positions alone."""
    vlm, lens = tiny_vlm(), LogitLens(positions=["image", "last"], layers=["embed", 1])
    inputs = tiny_inputs(vlm)
    asked = lens.asked(Ground(vlm, first_pass(vlm, inputs)))
    reading = vlm.run(inputs, lens)[lens]
    assert list(asked) == ["blocks.0.hook_resid_pre", "blocks.1.hook_resid_post"]
    for mask in asked.values():
        assert torch.equal(mask.nonzero(), torch.tensor(np.stack([reading.rows, reading.positions], axis=1)))


def test_padding_is_never_read_neither_before_a_row_nor_after_its_end() -> None:
    vlm, lens = tiny_vlm(), LogitLens(layers=-1)
    inputs = tiny_inputs(vlm)
    free = vlm.generate(inputs, max_new_tokens=5, eos_token_id=())
    end = int(free.tokens[0, 1])
    assert end not in free.tokens[1].tolist()
    run = vlm.generate(inputs, lens, max_new_tokens=5, eos_token_id=end)
    n_real = inputs.attention_mask.sum(dim=1).tolist()
    assert [(run[lens].rows == row).sum() for row in range(2)] == [n_real[0] + 1, n_real[1] + 4]  # no row's last token
    assert "pad" not in set(run[lens].to_dataframe()["role"])


def test_a_decoder_alone_is_read_as_well() -> None:
    alone, lens = HookedTransformer.from_hf(filled(LlamaForCausalLM(llama()))), LogitLens(layers=-1)
    run = alone.run(torch.randint(260, D_VOCAB, (2, 6)), lens)
    best = run.logits.argmax(dim=-1)[run[lens].rows, run[lens].positions]
    assert np.array_equal(run[lens].top_ids[0, :, 0], best.numpy())
    assert run[lens].plot().data[0].z.shape == (1, 6)  # no tokenizer: tokens by number


# Words, on the trained model


@cache
def demo() -> HookedVLM:
    return HookedVLM.demo()


@cache
def cat_reading() -> tuple[LensReading, Any]:
    example = example_scenes()[0]
    inputs = demo().prepare(Image.fromarray(example.scene.image), example.turn.question)
    lens = LogitLens(targets={"cat": [" cat"], "yes or no": [" Yes", " No"]})
    return demo().run(inputs, lens)[lens], inputs


def test_words_are_followed_by_their_spelling_alone_or_as_aliases() -> None:
    reading, inputs = cat_reading()
    last = reading.positions.tolist().index(inputs.layout.positions("last")[0])
    assert reading.top.tokens[-1, last, 0] == " Yes"
    assert reading.target_probabilities[-1, last, 1] > 0.99 and reading.target_ranks[-1, last, 1] == 1
    number = demo().to_single_token(" cat")
    as_id = LogitLens(targets=number, positions="image")
    as_text = LogitLens(targets=[" cat"], positions="image")
    run = demo().run(inputs, as_id, as_text)
    assert run[as_id].targets == run[as_text].targets == (" cat",)
    assert np.array_equal(run[as_id].target_ranks, run[as_text].target_ranks)
    is_patch = reading.places.is_patch_of(0, 0)
    assert np.array_equal(run[as_id].target_ranks[..., 0], reading.target_ranks[:, is_patch, 0])


def test_maps_put_each_value_at_its_patch() -> None:
    reading, inputs = cat_reading()
    span = inputs.layout.image_span()
    ranks = reading.patches("rank", "cat")
    assert ranks.shape == (7, 12, 12)
    for patch in (0, 17, 143):
        place = reading.positions.tolist().index(span.patch_positions[patch])
        assert np.array_equal(ranks[:, patch // 12, patch % 12], reading.target_ranks[:, place, 0])
        top = reading.top_patches()
        assert top.tokens[3, patch // 12, patch % 12].tolist() == reading.top.tokens[3, place].tolist()
    region = inputs.layout.patches(rows=2, cols=[3, 4])
    part = LogitLens(positions=region, targets=[" cat"])
    found = demo().run(inputs, part)[part].patches("rank")
    assert (~np.isnan(found)).sum() == 7 * 2
    np.testing.assert_array_equal(found[:, 2, 3:5], ranks[:, 2, 3:5])


def test_frames_have_one_line_an_observation() -> None:
    reading, inputs = cat_reading()
    n_places = inputs.shape[1]
    top, targets, entropy = (reading.to_dataframe(of) for of in ("top", "targets", "entropy"))
    assert (len(top), len(targets), len(entropy)) == (7 * n_places * 5, 7 * n_places * 2, 7 * n_places)
    chosen = targets.query("state == '3' and patch_row == 2 and patch_col == 5 and target == 'cat'")
    assert chosen["rank"].item() == reading.patches("rank", "cat")[4, 2, 5]
    line = top.query("layer == 5 and role == 'role' and rank == 1").iloc[-1]
    assert (line["top_token"], line["token"], line["state"]) == (" Yes", ":", "5")
    assert top.query("layer == -1")["state"].unique().tolist() == ["embed"]
    assert top.query("role != 'image'")["patch_row"].isna().all()
    np.testing.assert_allclose(top.groupby(["layer", "position"])["probability"].sum().max(), 1.0, atol=1e-5)


def test_the_figure_is_the_one_that_fits() -> None:
    reading, inputs = cat_reading()
    over_picture = reading.plot(region=inputs.layout.patches(rows=0))
    assert len(over_picture.frames) == 7 and len(over_picture.layout.images) == 1
    assert len(over_picture.data) == 3  # words and two targets
    table = reading.plot("tokens")
    assert table.data[0].z.shape == (7, inputs.shape[1] - 144)
    last, patches = LogitLens(positions="last"), LogitLens(positions=inputs.layout.patches(rows=0))
    run = demo().run(inputs, last, patches)
    assert run[last].plot().data[0].z.shape == (5, 7)
    assert len(run[patches].plot().frames) == 7
    assert len(reading.plot("strip").data) == 7
    assert "·Yes" in str(run[last].plot().data[0].text) and "Yes" in run[last]._repr_html_()


# What cannot be read


@pytest.mark.parametrize(
    "lens, error, message",
    [
        (LogitLens(targets=" giraffe"), InputError, "not a single token"),
        (LogitLens(targets={"cat": [" cat", " giraffe"]}), InputError, "not a single token"),
        (LogitLens(targets=10**6), InputError, r"ids from 0 to \d+, got 1000000"),
        (LogitLens(targets=[True]), InputError, "ids from 0"),
        (LogitLens(targets=[1.5]), InputError, "token ids and strings, got 1.5"),
        (LogitLens(targets=[" cat", " cat"]), InputError, "each once, got ' cat' 2 times"),
        (LogitLens(targets={"cat": []}), InputError, "at least one alias for each name, got none for 'cat'"),
        (LogitLens(top_k=0), InputError, "top_k of .*1 or more"),
        (LogitLens(memory=0), InputError, "memory of .*1 or more"),
        (LogitLens(layers=6), EmptySelectionError, "layers from 0 to 5"),
        (LogitLens(layers="embedding"), HookError, "whole numbers|'all'"),
        (LogitLens(positions="generated"), EmptySelectionError, "positions of .*got none"),
        (LogitLens(positions=400), PositionError, "Position does not exist"),
        (LogitLens(tower="vision"), HookError, "no text side.*HookedCLIP"),
        (LogitLens(candidates=["a cat"]), HookError, "candidates for tower='vision' alone"),
    ],
)
def test_what_cannot_be_read_is_refused_before_the_model_runs(
    lens: LogitLens, error: type[Exception], message: str
) -> None:
    inputs, calls = cat_reading()[1], []
    hook = ("vision.hook_embed", lambda activation, hook: calls.append(hook.name))
    with pytest.raises(error, match=message), demo().hooks(fwd_hooks=[hook]):
        demo().run(inputs, lens)
    assert calls == []


def test_padding_alone_is_refused_or_skipped() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    assert inputs.layout.roles(1)[0] == "pad"
    with pytest.raises(EmptySelectionError, match="padding alone"):
        vlm.run(inputs, LogitLens(positions={1: 0}))
    skipped = LogitLens(positions={1: 0}, on_empty="skip")
    assert vlm.run(inputs, skipped)[skipped] is None


def test_the_other_spelling_of_a_target_is_pointed_at() -> None:
    _, inputs = cat_reading()
    assert demo().to_single_token("Yes") != demo().to_single_token(" Yes")
    for targets in (["Yes"], {"yes": ["Yes"]}):
        with pytest.warns(UserWarning, match="The model says ' Yes' rather than 'Yes' here"):
            lens = LogitLens(targets=targets, positions="last")
            _ = demo().run(inputs, lens)[lens]
    for named in ([" Yes"], {"yes": ["Yes", " Yes"]}, [" Yes", "Yes"], demo().to_single_token("Yes")):
        lens = LogitLens(targets=named, positions="last")
        _ = demo().run(inputs, lens)[lens]  # warnings are errors


def test_what_was_not_read_is_not_shown() -> None:
    reading, _ = cat_reading()
    with pytest.raises(InputError, match="Target was not read: expected one of 'cat', 'yes or no', got 'dog'"):
        reading.patches("rank", "dog")
    with pytest.raises(PositionError, match="Row was not read: expected one of 0, got 1"):
        reading.row(1)
    with pytest.raises(InputError, match="one of map, strip, tokens, layers"):
        reading.plot("pie")
    with pytest.raises(InputError, match="one of top, targets, entropy"):
        reading.to_dataframe("all")
    with pytest.raises(InputError, match="one of probability, log_probability, rank, entropy"):
        reading.patches("logit", "cat")


def test_the_embedding_may_be_named_among_layers() -> None:
    vlm = tiny_vlm()
    inputs = tiny_inputs(vlm)
    for layers, states in ((("embed", 1), ("embed", "1")), (["embed"], ("embed",)), ((0.5, 1.0), ("1",))):
        lens = LogitLens(layers=layers, positions="last")
        assert vlm.run(inputs, lens)[lens].states == states
    for wrong in ("embd", ["Embed", 1]):
        with pytest.raises(HookError, match="expected 'all', 'embed', numbers or a range of layers"):
            vlm.run(inputs, LogitLens(layers=wrong))


def test_targets_and_entropy_are_drawn_over_layers() -> None:
    vlm, lens = tiny_vlm(), LogitLens(targets=TARGETS, positions="text")
    reading = vlm.run(tiny_inputs(vlm), lens)[lens]
    lines, (entropy,) = reading.plot("targets", row=1).data, reading.plot("entropy", row=1).data
    of_row = reading.row(1)
    assert [line.name for line in lines] == list(TARGETS) and list(lines[0].x) == ["embed", "0", "1"]
    for target, line in enumerate(lines):
        np.testing.assert_allclose(line.y, of_row.target_probabilities[:, :, target].mean(axis=1))
    np.testing.assert_allclose(entropy.y, of_row.entropy.mean(axis=1))
    nothing = LogitLens()
    with pytest.raises(InputError, match="targets that were followed"):
        vlm.run(tiny_inputs(vlm), nothing)[nothing].plot("targets")
