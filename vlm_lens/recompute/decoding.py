"""Variants of one prompt continued token by token, all of them in one batch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from vlm_lens.attachments.running.passes import next_pass
from vlm_lens.attachments.running.run import GeneratedRun
from vlm_lens.errors import InputError
from vlm_lens.model.decoding import Decoding
from vlm_lens.model.generation import Step, check_prompts, generated
from vlm_lens.model.sampling import Sampling
from vlm_lens.recompute.held_prompts import HeldPrompts
from vlm_lens.recompute.layers import LayerDone
from vlm_lens.recompute.planned import Planned
from vlm_lens.recompute.stepping import Stepping
from vlm_lens.recompute.variant import Variant

MAX_BYTES = 8 * 2**30
"""Keys and values of variants that decode together: a batch of some dozens reads the weights once for all of them."""

_UNASKED = 8
"""Steps that are run before a GPU is asked which variants have ended."""


@dataclass(eq=False)
class Continued:
    """One variant and what it has been continued by.

    Attributes:
        variant: which; its logits are those of the prompt.
        generator: what its draws come from, so that they are those of a generation by itself.
        steps: its tokens, and what they were chosen from.
    """

    variant: Variant
    generator: torch.Generator | None
    steps: list[Step] = field(default_factory=list)

    def run(self, model: Any, inputs: Any, end_tokens: Sequence[int]) -> GeneratedRun:
        """What a generation of this condition by itself gives, its session in the state that this leaves it in."""
        session, record = self.variant.session, self.variant.session.record
        assert record is not None
        generation = generated(model, inputs, self.steps, None, end_tokens, caches=False)
        self.steps = []  # their logits are held in one piece now
        record.tokens.extend(generation.tokens[:, :-1].split(1, dim=1))
        record.ends.extend(generation.logits.unbind(dim=1))
        session.finish(generation.layout or model._layout_of(generation, end_tokens))
        return GeneratedRun(**{one.name: getattr(generation, one.name) for one in fields(generation)}, session=session)


ReadPrompt = Callable[[Planned, Callable[[LayerDone], None]], Any]
"""Runs the prompt for what was planned, telling of each layer; each variant holds its logits afterwards."""


def generated_runs(
    planned: Planned,
    read_prompt: ReadPrompt,
    sampling: Sampling,
    eos_token_id: Any,
    max_bytes: int,
    on_step: Callable[[int], None] = lambda step: None,
) -> list[GeneratedRun]:
    """What a generation under each condition by itself gives, in order; see `SharedRun.generate`."""
    model, n_new = planned.model, planned.n_expected
    inputs, end_tokens = model.prompts_of(planned.inputs), model._end_tokens(eos_token_id)
    check_prompts(inputs, n_new, model.cfg.n_ctx)
    if not planned.wanted[-1]:
        raise InputError("Nothing follows what is wanted", "wanted='last', or more positions", "others alone")
    runs = {}
    for one in _continued(planned, read_prompt, sampling, end_tokens, max_bytes, on_step):
        runs[id(one.variant)] = one.run(model, inputs, end_tokens)
    options = {**asdict(sampling), "eos_token_id": end_tokens, "max_new_tokens": n_new}
    return [
        runs[id(one)] if id(one) in runs else model.generate(planned.inputs, *one.session.objects, **options)
        for one in planned.variants
    ]


def bytes_of_one(planned: Planned) -> int:
    """What the keys and values of one variant take, its prompt and all tokens to come."""
    cfg, batch = planned.model.cfg, len(planned.entries.input_ids)
    of_position = 2 * cfg.n_layers * cfg.n_kv * cfg.d_head * cfg.dtype.itemsize
    return int(batch * of_position * (planned.n + planned.n_expected))


def _continued(
    planned: Planned,
    read_prompt: ReadPrompt,
    sampling: Sampling,
    end_tokens: Sequence[int],
    max_bytes: int,
    on_step: Callable[[int], None],
) -> Iterator[Continued]:
    """Every variant that shares the reading of the prompt, continued; as many together as the bound allows, or one."""
    n_together = max(1, max_bytes // bytes_of_one(planned))
    for start in range(0, len(planned.in_parts), n_together):
        part = planned.only(planned.in_parts[start : start + n_together])
        n_positions = planned.n + planned.n_expected
        prompts = HeldPrompts(part.in_parts, planned.model.cfg.n_layers, n_positions, planned.is_real)
        for one in part.in_parts:
            one.let_go()  # a run that was stopped may have left logits
        # The last token of all is not run: one alone needs no keys and values.
        read_prompt(part, prompts.take if planned.n_expected > 1 else lambda done: None)
        if all(one.logits is not None for one in part.in_parts):  # else somebody else stands here by now
            yield from _decoded(part, prompts, sampling, end_tokens, on_step)


def _decoded(
    planned: Planned,
    prompts: HeldPrompts,
    sampling: Sampling,
    end_tokens: Sequence[int],
    on_step: Callable[[int], None],
) -> Sequence[Continued]:
    """Variants whose prompts have been read, continued until all have ended."""
    model, current = planned.model, planned.current
    device = torch.device(model.cfg.device or "cpu")
    ends = torch.tensor(sorted(set(end_tokens)), dtype=torch.long, device=device)
    everyone = [Continued(one, _generator(sampling, device)) for one in planned.in_parts]
    going = list(everyone)
    logits = torch.cat([_logits_of(one)[:, -1] for one in planned.in_parts]).to(device)
    stepping = Stepping(model, planned.ground, planned.n, planned.in_parts)
    decoding = Decoding(model, prompts.cache, planned.n_expected - 1)
    batch, has_ended = len(logits) // len(going), torch.zeros(len(logits), dtype=torch.bool, device=device)
    is_always_asked = device.type == "cpu" or stepping.is_anybody or sampling.do_sample
    with stepping.standing():
        for index in range(planned.n_expected):
            tokens = _chosen(going, logits, sampling).masked_fill(has_ended, model.pad_token_id)
            for one, *chosen in zip(going, tokens.split(batch), logits.split(batch), strict=True):
                one.steps.append(Step(index, *chosen))
            if index == planned.n_expected - 1:
                break
            has_ended = has_ended | torch.isin(tokens, ends)
            if is_always_asked or (index + 1) % _UNASKED == 0:
                order = _going_on(prompts, has_ended)
                if not order:
                    break
                if len(order) < len(going):
                    going = [going[place] for place in order]
                    stepping.reorder(order)
                    tokens, has_ended = (_in_order(one, order, batch) for one in (tokens, has_ended))
            given = tokens[:, None]
            current = next_pass(current, model, given[:batch], prompts.cache.n_positions)
            with stepping.step(current):
                logits = decoding.logits(given).to(device)
            on_step(index)
    return everyone


def _going_on(prompts: HeldPrompts, has_ended: Bool[Tensor, " variant_batch"]) -> list[int]:
    """The places of the variants that go on, in their new order; those of which every row has ended are let go."""
    n = prompts.n_variants
    ended = rearrange(has_ended, "(variant batch) -> variant batch", variant=n).all(dim=1).tolist()
    if all(ended):
        return []
    return prompts.drop(place for place in range(n) if ended[place]) if any(ended) else list(range(n))


def _in_order(
    values: Shaped[Tensor, " variant_batch"], order: Sequence[int], batch: int
) -> Shaped[Tensor, " kept_variant_batch"]:
    """The values of some variants, in another order."""
    return rearrange(values, "(variant batch) -> variant batch", batch=batch)[list(order)].flatten()


def _chosen(
    going: Sequence[Continued], logits: Float[Tensor, "variant_batch d_vocab"], sampling: Sampling
) -> Int[Tensor, " variant_batch"]:
    """The next token of every row; each variant draws from its own generator."""
    if not sampling.do_sample:
        return sampling.chosen(logits, None)
    drawn = [sampling.chosen(own, one.generator) for one, own in zip(going, logits.chunk(len(going)), strict=True)]
    return torch.cat(drawn)


def _generator(sampling: Sampling, device: torch.device) -> torch.Generator | None:
    return None if sampling.seed is None else torch.Generator(device).manual_seed(sampling.seed)


def _logits_of(variant: Variant) -> Float[Tensor, "batch wanted_pos d_vocab"]:
    assert variant.logits is not None
    return variant.logits
