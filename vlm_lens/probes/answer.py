"""The answer that is explained: a token's logit, or the difference between two, at one position of each row."""

import operator
import warnings
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.errors import HookError, InputError, PositionError


@dataclass(frozen=True)
class Contrast:
    """The mean logit of some tokens, less the mean logit of others.

    Attributes:
        plus: ids; () until it is known what the model says.
        minus: ids; () for a logit by itself.
    """

    plus: tuple[int, ...]
    minus: tuple[int, ...] = ()

    def settled(self, logits: Float[Tensor, " d_vocab"]) -> "Contrast":
        """The same, with the most probable token where none was named."""
        return self if self.plus else Contrast((int(logits.argmax()),), self.minus)

    def of(self, values: Float[Tensor, "*batch d_vocab"]) -> Float[Tensor, "*batch"]:
        """The contrast of values that stand one a token along the last axis."""
        assert self.plus
        total = values[..., list(self.plus)].mean(dim=-1)
        return total - values[..., list(self.minus)].mean(dim=-1) if self.minus else total

    def label(self, model: Any, texts: tuple[str, ...] = ()) -> str:
        """The tokens (or CLIP's texts) by name: "logit of ' Yes' - ' No'"."""
        plus, minus = ("/".join(_name(model, one, texts) for one in ids) for ids in (self.plus, self.minus))
        return f"{plus} - {minus}" if minus else plus


Target = str | int | Iterable[str | int] | Mapping[int, Any] | Contrast | None
"""A token as a string or id, several whose mean logit counts, `{row: target}`, a `Contrast`, or None: what the model
itself says."""


def contrasts_of(model: Any, target: Target, against: Target, n_rows: int) -> tuple[Contrast, ...]:
    """What is explained in each row.

    A `Contrast` is taken as it is in every row, tokens that no model says among them: an experiment that repeats a
    published mistake explains the token that begins every text.

    Raises:
        InputError: a text that is several tokens (with the pieces), an id outside the vocabulary, the token that
            begins every text, or a target that is also counted against.
        PositionError: `{row: target}` for other rows than there are.
    """
    if isinstance(target, Contrast):
        return (target,) * n_rows
    plus, minus = (_by_row(model, one, n_rows) for one in (target, against))
    for ids, others in zip(plus, minus, strict=True):
        if set(ids) & set(others):
            raise InputError("Target and against", "different tokens", f"{sorted(set(ids) & set(others))} in both")
    return tuple(Contrast(*pair) for pair in zip(plus, minus, strict=True))


def warn_of_spelling(model: Any, *targets: Target, logits: Float[Tensor, "query d_vocab"]) -> None:
    """Warn of a text whose other spelling, with a leading space or without, is what the model would rather say."""
    for text, token, other in _spelled_twice(model, targets):
        if bool((logits[:, other] > logits[:, token]).all()):
            _warn(model, text, other)


def warn_of_unread_spelling(model: Any, targets: Target, *, read: Set[int], followed: Set[int]) -> None:
    """Warn of a text that is nowhere among what was read best, while its other spelling is.

    Args:
        model: what ran.
        targets: texts; a mapping's values too.
        read: the tokens among the best anywhere.
        followed: the tokens of all targets: both spellings together are no mistake.
    """
    for text, token, other in _spelled_twice(model, [targets]):
        if other in read and token not in read and other not in followed:
            _warn(model, text, other)


def _spelled_twice(model: Any, targets: Iterable[Target]) -> Iterator[tuple[str, int, int]]:
    """The texts that are a token in both spellings, with both."""
    for text in sorted({text for one in targets for text in _texts(one)}):
        token, other = int(model.to_single_token(text)), _other_spelling(model, text)
        if other is not None and other != token:
            yield text, token, other


def _warn(model: Any, text: str, other: int) -> None:
    spelled = model.to_single_str_token(other)
    warnings.warn(
        f"The model says {spelled!r} rather than {text!r} here: they are two tokens. Did you mean {spelled!r}?",
        stacklevel=3,
    )


def check_has_vocabulary(model: Any, one: Any) -> None:
    """Raise for a model that gives no logits of tokens.

    Raises:
        HookError: it has no unembedding.
    """
    if "unembed" not in model._modules:
        got = f"a {type(model).__name__} without unembedding"
        raise HookError(f"{one!r}", "a model that gives logits of tokens", got)


def _by_row(model: Any, target: Target, n_rows: int) -> list[tuple[int, ...]]:
    if not isinstance(target, Mapping):
        return [_ids(model, target)] * n_rows
    if set(target) != set(range(n_rows)):
        raise PositionError("Targets by row", f"one for each row from 0 to {n_rows - 1}", f"rows {sorted(target)}")
    return [_ids(model, target[row]) for row in range(n_rows)]


def _ids(model: Any, target: Any) -> tuple[int, ...]:
    if target is None:
        return ()
    is_several = isinstance(target, Iterable) and not isinstance(target, str | torch.Tensor)
    if isinstance(target, torch.Tensor) and target.ndim:
        is_several, target = True, target.tolist()
    ids = tuple(dict.fromkeys(_id(model, one) for one in (target if is_several else [target])))
    if not ids:
        raise InputError("Target", "a token", f"none ({target!r})", "None stands for what the model says.")
    return ids


def _id(model: Any, target: Any) -> int:
    """One token's id."""
    if isinstance(target, str):
        token = int(model.to_single_token(target))
    else:
        try:
            token = operator.index(target)
        except TypeError:
            raise InputError("Target", "a text of one token, or its id", repr(target)) from None
        if isinstance(target, bool):
            raise InputError("Target", "a text of one token, or its id", repr(target))
    if not 0 <= token < model.cfg.d_vocab:
        raise InputError("Target", f"an id from 0 to {model.cfg.d_vocab - 1}", token)
    if token in _never_said(model):
        advice = "encode() puts it before every text; give the answer as text: target=' Yes'."
        raise InputError("Target", "a token that can be an answer", f"{token}, which begins or fills a text", advice)
    return token


def _never_said(model: Any) -> set[int]:
    """Tokens that begin or fill texts, where they are no end of text as well."""
    tokenizer = model.tokenizer
    ids = [getattr(tokenizer, name, None) for name in ("bos_token_id", "pad_token_id", "unk_token_id")]
    return {int(one) for one in ids if one is not None and one != getattr(tokenizer, "eos_token_id", None)}


def _texts(target: Any) -> list[str]:
    if isinstance(target, str):
        return [target]
    if isinstance(target, Mapping):
        target = list(target.values())
    if isinstance(target, list | tuple):
        return [text for one in target for text in _texts(one)]
    return []


def _other_spelling(model: Any, text: str) -> int | None:
    try:
        return int(model.to_single_token(text[1:] if text.startswith(" ") else f" {text}"))
    except InputError:
        return None


def _name(model: Any, token: int, texts: tuple[str, ...]) -> str:
    if texts:
        return repr(texts[token])
    if getattr(model, "tokenizer", None) is None:
        return f"token {token}"
    return repr(model.to_single_str_token(token))
