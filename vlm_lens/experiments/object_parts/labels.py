"""The tokens that a label is read by, and what is said of a label that the tokenizer splits."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vlm_lens.data.labels import aliases_of
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.object_parts.regions import PartRegion
from vlm_lens.metrics.null import null_score


@dataclass(frozen=True)
class LabelTokens:
    """A label in a vocabulary.

    Attributes:
        label: "leg".
        tokens: the ids of its aliases; empty where it is left out.
        pieces: of a label without an alias that is one token, what the tokenizer makes of it; else empty.
    """

    label: str
    tokens: tuple[int, ...]
    pieces: tuple[str, ...] = ()

    def among(self, candidates: Container[int]) -> "LabelTokens":
        """The same with those of its tokens alone that are candidates."""
        return replace(self, tokens=tuple(token for token in self.tokens if token in candidates))


def label_tokens(label: str, tokenizer: Any, options: Any) -> LabelTokens:
    """The tokens of a label.

    Args:
        label: "leg".
        tokenizer: of the vocabulary.
        options: with `capitals` and `split_labels`: "skip" for no token where a label is split, or "first piece".
    """
    found = aliases_of(label, tokenizer, capitals=options.capitals)
    if found.is_whole:
        return LabelTokens(label, found.tokens)
    is_read = options.split_labels == "first piece"
    return LabelTokens(label, found.tokens_or_stand_in if is_read else (), next(iter(found.split.values())))


def labels_of(context: Context, labels: Iterable[str], tokenizer: Any) -> Mapping[str, LabelTokens]:
    """Several labels in a vocabulary, each looked up once in a process."""

    def once(label: str) -> LabelTokens:
        found: LabelTokens = context.once(f"label {label}", lambda: label_tokens(label, tokenizer, context.options))
        return found

    return {label: once(label) for label in labels}


def region_row(
    part: PartRegion, labels: Mapping[str, LabelTokens], d_vocab: int, n_read: int | None = None
) -> dict[str, Any]:
    """What is known of a part before any model has read it, and what chance would score there.

    Args:
        part: the part.
        labels: with its label and its object's.
        d_vocab: how many tokens a label is ranked among.
        n_read: how many readings the best is taken of; None for one at each of its patches.
    """
    row: dict[str, Any] = {
        "class": part.category,
        "part": part.part,
        "n_patches": len(part.region),
        "share": part.share,
    }
    for name, label in (("", labels[part.part]), ("object_", labels[part.category])):
        n_aliases = len(label.tokens)
        is_read = n_aliases and len(part.region)
        row[f"{name}aliases"] = n_aliases
        row[f"{name}pieces"] = " ".join(map(repr, label.pieces))
        row[f"{name}chance"] = null_score(n_read or len(part.region), d_vocab, n_aliases) if is_read else float("nan")
    return row
