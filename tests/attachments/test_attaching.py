"""Objects attach, compose, are found again, and are gone afterwards."""

import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.interventions.scenes_of_numbers import checkpoint, mapping
from tests.model.tiny_vlms import tiny_inputs, tiny_vlm
from vlm_lens import AttentionKnockout, HookedVLM, Inputs, Reader, Writer
from vlm_lens.attachments import Again, Here, Measure, PositionWriter, Read, Record
from vlm_lens.attachments.running.checks import check_objects
from vlm_lens.errors import EmptySelectionError, HookError, InputError, PositionError
from vlm_lens.model.transformer import check_request

RESID = "blocks.0.hook_resid_post"


@dataclass(frozen=True, eq=False)
class Scaled(Writer):
    """Multiplies an activation."""

    factor: float
    hook: str = RESID

    def write(self, activation: Tensor, here: Here) -> Tensor:
        return activation * self.factor


@dataclass(frozen=True, eq=False)
class Shifted(Writer):
    """Adds to an activation, in place."""

    amount: float
    hook: str = RESID

    def write(self, activation: Tensor, here: Here) -> Tensor:
        activation += self.amount
        return activation


@dataclass(frozen=True, eq=False)
class Seen(Reader):
    """Keeps an activation whole."""

    hook: str = RESID

    def read(self, activation: Tensor, here: Here) -> Tensor:
        return activation.clone()

    def result(self, reads: Sequence[Read], record: Record) -> list[Tensor]:
        return [read.value for read in reads]


@pytest.fixture
def vlm() -> Any:
    vlm = tiny_vlm()
    yield vlm
    assert not standing(vlm)


@pytest.fixture
def inputs(vlm: HookedVLM) -> Inputs:
    return tiny_inputs(vlm)


def standing(vlm: HookedVLM) -> bool:
    """Whether anything is left at the model."""
    has_hooks = any(not point.is_idle for point in vlm.hook_dict.values())
    return has_hooks or bool(vlm._forward_pre_hooks) or bool(vlm._forward_hooks)


def test_writers_on_one_hook_apply_in_the_order_written(vlm: HookedVLM, inputs: Inputs) -> None:
    scaled, shifted, first, last = Scaled(2.0), Shifted(1.0), Seen(), Seen()
    run = vlm.run(inputs, first, scaled, shifted, last)
    other = vlm.run(inputs, shifted, scaled, last)
    (clean,), (seen,), (swapped,) = run[first], run[last], other[last]
    assert torch.equal(seen, clean * 2 + 1)
    assert torch.equal(swapped, (clean + 1) * 2)
    assert not torch.equal(run.logits, other.logits)


def test_the_order_of_objects_on_different_hooks_does_not_matter(vlm: HookedVLM, inputs: Inputs) -> None:
    early, late = Scaled(2.0), Scaled(0.5, hook="blocks.1.hook_resid_post")
    assert torch.equal(vlm.run(inputs, early, late).logits, vlm.run(inputs, late, early).logits)


def test_equal_readers_keep_apart(vlm: HookedVLM, inputs: Inputs) -> None:
    before, after = Seen(), Seen()
    run = vlm.run(inputs, before, Scaled(3.0), after)
    assert before.fingerprint() == after.fingerprint()
    assert torch.equal(run[before][0] * 3.0, run[after][0])


def test_readers_change_no_bit(vlm: HookedVLM, inputs: Inputs) -> None:
    plain = vlm.run(inputs).logits
    readers = [Seen(), Seen("blocks.*.attn.hook_pattern"), Seen("vision.blocks.*.attn.hook_mask")]
    assert torch.equal(vlm.run(inputs, *readers).logits, plain)


def test_a_generation_sees_the_prompt_and_then_one_position_a_step(vlm: HookedVLM, inputs: Inputs) -> None:
    seen = Seen()
    run = vlm.generate(inputs, seen, max_new_tokens=4, eos_token_id=())
    n_prompt = inputs.shape[1]
    assert [one.shape[1] for one in run[seen]] == [n_prompt, 1, 1, 1]
    whole = vlm.run(inputs.continued(run.tokens[:, 0]).continued(run.tokens[:, 1]).continued(run.tokens[:, 2]), seen)
    torch.testing.assert_close(torch.cat(run[seen], dim=1), whole[seen][0], atol=1e-4, rtol=1e-4)


def test_attach_holds_until_the_block_ends(vlm: HookedVLM, inputs: Inputs) -> None:
    seen, plain = Seen(), vlm(inputs)
    with vlm.attach(Scaled(2.0), seen) as run:
        changed = vlm(inputs)
        assert torch.equal(vlm.run_with_hooks(inputs), changed)
        assert torch.equal(vlm.run_with_cache(inputs, names_filter=RESID)[1][RESID], run[seen][0])
    assert torch.equal(vlm(inputs), plain)
    assert not torch.equal(changed, plain)


def test_attach_and_run_nest(vlm: HookedVLM, inputs: Inputs) -> None:
    with vlm.attach(Scaled(2.0)):
        inside = vlm.run(inputs, Shifted(1.0)).logits
    assert torch.equal(inside, vlm.run(inputs, Scaled(2.0), Shifted(1.0)).logits)


def test_attach_holds_under_generate_from_the_first_token(vlm: HookedVLM, inputs: Inputs) -> None:
    knockout = AttentionKnockout("predicting", "image")
    with vlm.attach(knockout):
        outer = vlm.generate(inputs, max_new_tokens=5, eos_token_id=())
    inner = vlm.generate(inputs, knockout, max_new_tokens=5, eos_token_id=())
    clean = vlm.generate(inputs, max_new_tokens=5, eos_token_id=())
    assert torch.equal(outer.logits, inner.logits)
    assert not torch.equal(inner.logits[:, 0], clean.logits[:, 0])


def test_stream_is_generate_token_by_token(vlm: HookedVLM, inputs: Inputs) -> None:
    knockout = AttentionKnockout("predicting", "image")
    whole = vlm.generate(inputs, knockout, max_new_tokens=3, eos_token_id=())
    for index, step in enumerate(vlm.stream(inputs, knockout, max_new_tokens=3, eos_token_id=())):
        assert not standing(vlm)
        assert torch.equal(step.logits, whole.logits[:, index])


class Stop(BaseException):
    """As Ctrl-C would."""


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, Stop])
@pytest.mark.parametrize(
    "use",
    [
        lambda vlm, inputs, one: vlm.run(inputs, AttentionKnockout("last", "image"), one),
        lambda vlm, inputs, one: vlm.generate(inputs, AttentionKnockout("last", "image"), one, max_new_tokens=3),
        lambda vlm, inputs, one: next(iter(vlm.stream(inputs, one, max_new_tokens=3))),
    ],
    ids=["run", "generate", "stream"],
)
def test_nothing_is_left_after_an_error(
    vlm: HookedVLM, inputs: Inputs, use: Callable[..., Any], error: type[BaseException]
) -> None:
    @dataclass(frozen=True, eq=False)
    class Failing(Writer):
        hook: str = RESID

        def write(self, activation: Tensor, here: Here) -> Tensor:
            raise error

    with pytest.raises(error):
        use(vlm, inputs, Failing())
    assert not standing(vlm)
    with pytest.raises(error), vlm.attach(AttentionKnockout("last", "image")):
        vlm(inputs)
        raise error
    assert not standing(vlm)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(queries="generated"), r"queries of .*got none for 'generated'"),
        (dict(keys="newline"), r"keys of .*expected positions that occur \(.*image \d+.*\), got none"),
        (dict(queries="image", keys="last"), "blocks nothing"),
        (dict(layers=99), r"Layers of the decoder tower: expected layers from 0 to 1.*got 99"),
        (dict(layers=[]), "Layers of the decoder tower"),
        (dict(layers=(0.9, 0.95)), "Layers of the decoder tower"),
    ],
)
def test_what_touches_nothing_is_refused_or_skipped(
    vlm: HookedVLM, inputs: Inputs, change: dict[str, Any], message: str
) -> None:
    knockout = replace(AttentionKnockout("last", "image"), **change)
    with pytest.raises(EmptySelectionError, match=message):
        vlm.run(inputs, knockout)
    skipped = replace(knockout, on_empty="skip")
    assert torch.equal(vlm.run(inputs, skipped).logits, vlm.run(inputs).logits)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(heads=4), HookError, "Heads at blocks.0.attn.hook_mask: expected heads from 0 to 3, got 4"),
        (dict(tower="text"), HookError, "Tower does not exist: expected tower to be one of decoder, vision"),
        (dict(keys={7: "image"}), PositionError, "keys of .*expected rows from 0 to"),
        (dict(queries="all", keys="all"), HookError, "every query to keep at least one key, got none in layer 0"),
        (dict(queries="lsat"), PositionError, "Did you mean 'last'"),
        (dict(layers=0.5), HookError, "expected whole numbers, got 0.5"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_model_runs(
    vlm: HookedVLM, inputs: Inputs, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    seen = Seen("vision.hook_embed")
    with (
        pytest.raises(error, match=message),
        vlm.attach(seen, replace(AttentionKnockout("last", "image"), **change)) as run,
    ):
        vlm(inputs)
    with pytest.raises((HookError, UnboundLocalError)):
        run[seen]  # the first hook of the model was not reached


def test_regions_of_another_picture_are_refused(vlm: HookedVLM, inputs: Inputs) -> None:
    elsewhere = inputs.layout.patches(rows=0, row=1)
    alone = inputs.row(0)
    for tower, queries in (("decoder", "last"), ("vision", "cls")):
        with pytest.raises(PositionError, match="another"):
            vlm.run(alone, AttentionKnockout(queries, elsewhere, tower=tower))


def test_one_that_can_reach_nothing_warns(vlm: HookedVLM, inputs: Inputs) -> None:
    last = AttentionKnockout("cls", "patches", layers=-1, tower="vision")
    with pytest.warns(UserWarning, match="can reach nothing"):
        vlm.run(inputs, last)


def test_a_value_says_what_it_is(vlm: HookedVLM) -> None:
    knockout = AttentionKnockout("last", torch.zeros(2, 30, dtype=torch.bool), layers=range(3), name="cut")
    assert repr(knockout) == "AttentionKnockout(queries='last', keys=Tensor(2, 30), layers=range(0, 3), name='cut')"
    assert knockout.fingerprint() == replace(knockout, name="other").fingerprint()
    assert knockout.fingerprint() != replace(knockout, layers=range(4)).fingerprint()
    assert knockout.fingerprint() == replace(knockout, layers=[0, 1, 2]).fingerprint()


def test_what_a_measure_runs_is_not_recorded_by_what_is_attached_outside(vlm: HookedVLM, inputs: Inputs) -> None:
    @dataclass(frozen=True, eq=False)
    class Doubled(Measure):
        """Runs the model again with a stream that nobody outside should be shown."""

        def measure(self, again: Again) -> Tensor:
            return again([(RESID, lambda activation, hook: activation * 7.0)], only_last=True)

    seen, measure = Seen(), Doubled()
    with vlm.attach(Scaled(2.0), seen) as outside:
        run = vlm.run(inputs, measure)
        (kept,) = outside[seen]
        assert outside.record is not None and outside.record.n_steps == 1
    (expected,) = vlm.run(inputs, Scaled(2.0), seen)[seen]
    assert torch.equal(kept, expected)
    with vlm.attach(Scaled(2.0), Scaled(7.0)):
        assert torch.equal(run[measure], vlm(inputs, only_last=True))  # and what is attached outside does act


def test_a_reader_that_edits_what_it_reads_is_refused(vlm: HookedVLM, inputs: Inputs) -> None:
    @dataclass(frozen=True, eq=False)
    class Clumsy(Reader):
        hook: str = RESID

        def read(self, activation: Tensor, here: Here) -> float:
            return float(activation.mul_(0.5).mean())

    with pytest.raises(HookError, match="Clumsy at blocks.0.hook_resid_post: .*an edit in place"):
        vlm.run(inputs, Clumsy())
    assert not standing(vlm)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda vlm, inputs: check_objects(([Seen()],)), "Unpack them"),
        (lambda vlm, inputs: check_objects(("last",)), "expected interventions and probes, got 'last'"),
        (lambda vlm, inputs: check_objects((Seen(on_empty="warn"),)), "on_empty of Seen: expected 'raise' or 'skip'"),
        (lambda vlm, inputs: check_request(Seen(), None, False), r"go through run\(inputs, \*objects\)"),
        (lambda vlm, inputs: vlm.run(object(), Seen()), "Pictures go through prepare"),
        (lambda vlm, inputs: vlm.generate(inputs, temperature=3.0), "temperature without sampling.*do_sample=True"),
        (lambda vlm, inputs: vlm.run(inputs, Seen("blocks.*.nowhere")), "No hook fits the pattern"),
        (lambda vlm, inputs: vlm.run(inputs, names_filter="bocks.*.hook_resid_post"), "Did you mean 'blocks"),
    ],
)
def test_a_call_that_cannot_be_meant_says_what_to_do(
    vlm: HookedVLM, inputs: Inputs, call: Callable[..., Any], message: str
) -> None:
    with pytest.raises((HookError, InputError), match=message):
        call(vlm, inputs)


def test_a_writer_without_a_hook_is_told_so(vlm: HookedVLM, inputs: Inputs) -> None:
    @dataclass(frozen=True, eq=False)
    class Nowhere(Writer):
        def write(self, activation: Tensor, here: Here) -> Tensor:
            return activation

    with pytest.raises(HookError, match="Nowhere stands nowhere: .* Give the class a field `hook`"):
        vlm.run(inputs, Nowhere())


def test_a_pattern_selects_activations_as_it_selects_hooks(vlm: HookedVLM, inputs: Inputs) -> None:
    cache = vlm.run(inputs, names_filter="blocks.*.hook_resid_post").cache
    assert cache is not None and list(cache) == ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]


def test_a_value_that_travelled_says_the_same(vlm: HookedVLM) -> None:
    knockout = AttentionKnockout("last", "image", layers=range(3))
    assert repr(pickle.loads(pickle.dumps(knockout))) == repr(knockout)
    assert pickle.loads(pickle.dumps(knockout)).fingerprint() == knockout.fingerprint()


def test_what_is_attached_says_so(vlm: HookedVLM, inputs: Inputs) -> None:
    with vlm.attach(Scaled(2.0)) as run:
        assert repr(run) == "Attached(Scaled(factor=2.0); nothing run yet)" and run.inputs is None
        vlm(inputs)
        assert run.inputs is inputs and run.layout is inputs.layout


def test_patches_are_counted_alike_before_and_behind_a_class_token_that_is_kept() -> None:
    """The patch embedding has no class token yet, whatever the projector is given."""
    vlm = HookedVLM.from_hf(checkpoint("class token kept"))
    assert vlm.n_class_tokens == 1
    inputs = vlm.as_inputs(mapping("class token kept")).row(0)
    first = inputs.layout.patches(rows=0, cols=0)

    @dataclass(frozen=True, eq=False)
    class Zeroed(PositionWriter):
        positions: Any
        hook: str = "vision.hook_patch_embed"

        def value(self, activation: Tensor, here: Here) -> Tensor:
            return torch.zeros_like(activation)

    for positions, expected in ((first, [0]), ("patches", list(range(16))), (-1, [15])):
        run = vlm.run(inputs, Zeroed(positions), names_filter="vision.hook_patch_embed")
        assert run.cache is not None
        is_zero = (run.cache["vision.hook_patch_embed"][0] == 0).all(dim=-1)
        assert is_zero.nonzero().flatten().tolist() == expected
        run.verify()


def test_an_embedding_is_not_reached_where_a_stream_is_given(vlm: HookedVLM, inputs: Inputs) -> None:
    stream = vlm.run(inputs, stop_at_layer=1).logits
    with pytest.raises(EmptySelectionError, match="stands where nothing runs"):
        vlm.run(stream, Scaled(2.0, "hook_embed"), start_at_layer=1)
    assert not torch.equal(
        vlm.run(inputs, Scaled(2.0, "hook_embed"), start_at_layer=1).logits, vlm.run(inputs, start_at_layer=1).logits
    )


def test_one_tensor_that_a_hook_refills_is_read_anew_in_every_layer(vlm: HookedVLM, inputs: Inputs) -> None:
    room: list[Tensor] = []

    def refilled(mask: Tensor, hook: Any) -> Tensor:
        if not room:
            room.append(mask.clone())
        room[0].copy_(mask)
        room[0][:, :, 10:, 5 + hook.layer()] = False
        return room[0]

    def fresh(mask: Tensor, hook: Any) -> Tensor:
        new = mask.clone()
        new[:, :, 10:, 5 + hook.layer()] = False
        return new

    for hook in (refilled, fresh):
        hook.returns_new = True  # type: ignore[attr-defined]
    hooks = [[(f"blocks.{layer}.attn.hook_mask", hook) for layer in range(2)] for hook in (refilled, fresh)]
    with torch.no_grad():
        found, expected = (vlm.run_with_hooks(inputs, fwd_hooks=one) for one in hooks)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("return_type, said", [("both", "logits .*, loss"), ("loss", "loss"), (None, "nothing")])
def test_a_run_says_what_the_model_gave(vlm: HookedVLM, inputs: Inputs, return_type: str | None, said: str) -> None:
    run = vlm.run(inputs, return_type=return_type)
    assert re.search(said, repr(run)) and re.search(said, run._repr_html_())


def test_a_value_keeps_what_it_was_given(vlm: HookedVLM, inputs: Inputs) -> None:
    mask = inputs.layout.mask("image")
    given: dict[str, Any] = {"queries": ["last"], "keys": mask, "layers": [1], "heads": [0, 2]}
    knockout = AttentionKnockout(**given)
    before, name = vlm.run(inputs, knockout).logits, knockout.fingerprint()
    mask[:] = False
    for one in (given["queries"], given["layers"], given["heads"]):
        one.append(0)
    assert torch.equal(vlm.run(inputs, knockout).logits, before) and knockout.fingerprint() == name
