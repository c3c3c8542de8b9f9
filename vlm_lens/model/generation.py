"""Generation with a key-value cache: one token a step, every hook at every step."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from html import escape
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.inputs import Inputs, piece_strings
from vlm_lens.model.cache import ActivationCache
from vlm_lens.model.decoding import Decoding
from vlm_lens.model.fixed_step import FixedStep
from vlm_lens.model.hooked_root import position_axis
from vlm_lens.model.key_value_cache import KeyValueCache
from vlm_lens.model.sampling import Sampling


@dataclass(frozen=True, eq=False)
class Step:
    """One step of a generation.

    Attributes:
        index: 0 for the first generated token.
        tokens: the token of each row; padding once a row has ended.
        logits: what each token was chosen from, `[batch d_vocab]`.
        activations: what `names_filter` selects of the run that gave these logits.
    """

    index: int
    tokens: Int[Tensor, " batch"]
    logits: Float[Tensor, "batch d_vocab"]
    activations: dict[str, Tensor] = field(default_factory=dict, repr=False)
    spell: Callable[[], tuple[str, ...]] = field(default=tuple, repr=False)

    @cached_property
    def strings(self) -> tuple[str, ...]:
        """The tokens as text, which is decoded once somebody looks: on a GPU the decoding waits for the token."""
        return self.spell()


@dataclass(frozen=True, eq=False)
class Generation:
    """What was generated.

    Attributes:
        tokens: generated tokens, padded after a row's end.
        logits: what each was chosen from.
        texts: each row's text, without special tokens.
        inputs: what the model was given.
        layout: the layout of prompt and generated positions together; None for a model given plain tokens.
        cache: activations of all positions that were run (the last generated token was not), or None.
    """

    tokens: Int[Tensor, "batch step"]
    logits: Float[Tensor, "batch step d_vocab"]
    texts: tuple[str, ...]
    inputs: Any
    layout: Any = None
    cache: ActivationCache | None = None

    @property
    def text(self) -> str:
        """The text of a batch of one.

        Raises:
            InputError: for a larger batch.
        """
        if len(self.texts) != 1:
            raise InputError("text is of one row", "a batch of 1", f"{len(self.texts)} rows", "Take texts.")
        return self.texts[0]

    def __repr__(self) -> str:
        return f"Generation({self.tokens.shape[1]} tokens, {list(self.texts)})"

    def _repr_html_(self) -> str:
        return "".join(f"<pre>{escape(text)}</pre>" for text in self.texts)


def check_prompts(inputs: Any, max_new_tokens: int, n_ctx: int) -> None:
    """Raise for prompts that cannot be continued by so many tokens.

    Raises:
        InputError: no token to add, prompts that end in padding, or more positions than the context has.
    """
    if max_new_tokens < 1:
        raise InputError("max_new_tokens", "at least 1", max_new_tokens)
    n_positions = inputs["input_ids"].shape[1]
    if n_positions + max_new_tokens > n_ctx:
        got = f"{n_positions} + {max_new_tokens} new"
        raise InputError("Generation exceeds the context", f"at most {n_ctx} positions", got, "Lower max_new_tokens.")
    if not bool(inputs["attention_mask"][:, -1].all()):
        advice = "Pad on the left, as prepare does."
        raise InputError("Prompts end in padding", "a real token at the last position", "padding", advice)


def stream_tokens(
    model: Any,
    inputs: Any,
    *,
    max_new_tokens: int,
    sampling: Sampling,
    end_tokens: Iterable[int],
    names: Sequence[str] = (),
    use_cache: bool = True,
    around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    past: KeyValueCache | None = None,
    static_cache: bool = False,
    end_check_every: int = 1,
) -> Iterator[Step]:
    """Generate token by token.

    Hooks stand only while the model runs, so that a consumer who stops early leaves none.

    Args:
        model: the decoder.
        inputs: a mapping with `input_ids` and `attention_mask`, which `check_prompts` has passed.
        max_new_tokens: how many at most.
        sampling: how each is chosen.
        end_tokens: a row ends with one of these.
        names: which activations to keep.
        use_cache: keep keys and values (else every step runs the whole sequence, for comparison).
        around: makes a context that is entered for each run of the model.
        past: keys and values of what came before the inputs.
        static_cache: run the steps on fixed shapes; see `FixedStep`.
        end_check_every: ask only after so many steps whether every row has ended, as long as nobody stands at the
            model: asking waits for a GPU. Up to so many steps then come too many, of padding alone.
    """
    start = inputs["input_ids"].to(model.cfg.device)
    ends = torch.tensor(sorted(set(end_tokens)), dtype=torch.long, device=start.device)
    generator = None if sampling.seed is None else torch.Generator(start.device).manual_seed(sampling.seed)
    n_prompt, pad_token_id = start.shape[1], model.pad_token_id
    if past is None and use_cache:
        n_positions = n_prompt + max_new_tokens
        past = KeyValueCache(model.cfg.n_layers, FixedStep.capacity(n_positions) if static_cache else n_positions)
    decoding = Decoding(model, past, max_new_tokens - 1, static_cache)
    given, row_tokens = inputs, torch.cat((start, start.new_empty(len(start), max_new_tokens)), dim=1)
    has_ended: Bool[Tensor, " batch"] = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    for index in range(max_new_tokens):
        with torch.no_grad(), around(), _saving(model, names) as saved:
            logits = decoding.logits(given).to(start.device)
        tokens = sampling.chosen(logits, generator).masked_fill(has_ended, pad_token_id)
        before = row_tokens[:, : n_prompt + index]
        row_tokens[:, n_prompt + index] = tokens
        yield Step(index, tokens, logits, saved, partial(_spelled, model, tokens, before))
        has_ended = has_ended | torch.isin(tokens, ends)
        is_checked = decoding.was_watched or (index + 1) % end_check_every == 0
        if is_checked and bool(has_ended.all()):
            return
        given = tokens[:, None] if use_cache else _continued(given, tokens)


@contextmanager
def _saving(model: Any, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """While a pass runs its activations of these names are kept."""
    if not names:
        yield {}
        return
    saved, hooks, _ = model.get_caching_hooks(names)
    with model.hooks(fwd_hooks=hooks):
        yield saved


def _spelled(model: Any, tokens: Int[Tensor, " batch"], before: Int[Tensor, "batch pos"]) -> tuple[str, ...]:
    """What each row's new token adds to its text."""
    return tuple(pieces[0] for pieces in _strings(model, tokens[:, None].tolist(), before.tolist()))


def _strings(model: Any, new: list[list[int]], before: list[list[int]]) -> list[list[str]]:
    """The text that each new token adds to its row; its number where the model has no tokenizer."""
    if model.tokenizer is None:
        return [[str(token) for token in row] for row in new]
    return [piece_strings(model.tokenizer, row, held) for row, held in zip(new, before, strict=True)]


def _continued(given: Any, tokens: Int[Tensor, " batch"]) -> Any:
    """The whole sequence so far, for a run that keeps no keys and values."""
    if isinstance(given, Inputs):
        return given.continued(tokens)
    mask = given["attention_mask"].to(tokens.device)
    return {
        **given,
        "input_ids": torch.cat((given["input_ids"].to(tokens.device), tokens[:, None]), dim=1),
        "attention_mask": torch.cat((mask, torch.ones_like(mask[:, :1])), dim=1),
    }


def generated(
    model: Any,
    inputs: Any,
    steps: Iterable[Step],
    on_token: Callable[[Step], None] | None,
    end_tokens: Iterable[int],
    caches: bool,
    use_cache: bool = True,
) -> Generation:
    """Gather the steps of a generation; without keys and values kept, the last step ran all positions."""
    kept = []
    for step in steps:
        kept.append(step)
        if on_token is not None:
            on_token(step)
    tokens = torch.stack([step.tokens for step in kept], dim=1)
    kept = kept[: _n_steps(tokens, end_tokens)]
    tokens = tokens[:, : len(kept)]
    logits = torch.stack([step.logits for step in kept], dim=1)
    texts: tuple[str, ...] = ()
    if model.tokenizer is not None:
        texts = tuple(model.tokenizer.decode(row.tolist(), skip_special_tokens=True).strip() for row in tokens)
    layout = getattr(inputs, "layout", None)
    if layout is not None:
        layout = continued_layout(model, layout, inputs, tokens, end_tokens)
    runs = [step.activations for step in (kept if use_cache else kept[-1:])]
    cache = ActivationCache(joined_activations(runs), model) if caches else None
    return Generation(tokens, logits, texts, inputs, layout, cache)


def continued_layout(
    model: Any, layout: Any, inputs: Any, tokens: Int[Tensor, "batch step"], end_tokens: Iterable[int]
) -> Any:
    """The layout of the prompts with what was generated after them, padding after a row's end."""
    return layout.extended(
        _strings(model, tokens.tolist(), inputs["input_ids"].tolist()), _after_end(tokens, end_tokens)
    )


def _after_end(tokens: Int[Tensor, "batch step"], end_tokens: Iterable[int]) -> Bool[Tensor, "batch step"]:
    """True after the token that ended a row."""
    is_end = torch.isin(tokens, torch.tensor(sorted(set(end_tokens)), dtype=torch.long, device=tokens.device))
    return (is_end.long().cumsum(dim=1) - is_end.long()) > 0


def _n_steps(tokens: Int[Tensor, "batch step"], end_tokens: Iterable[int]) -> int:
    """The steps until every row had ended: the step that follows would be padding alone."""
    return int((~_after_end(tokens, end_tokens)).any(dim=0).sum())


def joined_activations(steps: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Activations of all steps in one, as a run of the whole sequence would have given them.

    Rows that were run when later keys did not exist have them masked: scores -inf, pattern 0, mask False.
    """
    joined = {}
    for name in steps[0]:
        values = [step[name] for step in steps if name in step]
        fills: dict[str, Any] = {"hook_attn_scores": -torch.inf, "hook_pattern": 0.0, "hook_mask": False}
        fill = next((value for ending, value in fills.items() if name.endswith(ending)), None)
        if fill is not None:
            n_keys = values[-1].shape[-1]
            n_heads = max(v.shape[1] for v in values)  # a hook may give each head a mask in some steps only
            values = [v.expand(-1, n_heads, -1, -1) for v in values]
            values = [torch.nn.functional.pad(v, (0, n_keys - v.shape[-1]), value=fill) for v in values]
        joined[name] = values[0] if len(values) == 1 else torch.cat(values, dim=position_axis(name))
    return joined
