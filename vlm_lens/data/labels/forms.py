"""The texts that stand for a label: "leg", "legs", " leg", " legs", "Leg" ...

`aliases.json` has the words of each label (its plural, other spellings, no synonyms) and for each vocabulary the forms
that a word takes in it. The part paper defines its aliases by hand "with reference to the VLM vocabulary" (footnote 3)
and prints four of them; its list is not public, so this one is ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType

from pydantic import TypeAdapter

from vlm_lens.errors import InputError


@dataclass(frozen=True)
class Vocabulary:
    """How a kind of vocabulary writes words.

    Attributes:
        mark: what tells the beginning of a word, or for CLIP its end: "▁", "Ġ", "</w>".
        forms: of a word, with `{word}` in its place and `{Word}` for a capital; a space stands where one stood before.
    """

    mark: str
    forms: tuple[str, ...]


@dataclass(frozen=True)
class _Contents:
    vocabularies: dict[str, Vocabulary]
    sets: dict[str, tuple[str, ...]]
    words: dict[str, tuple[str, ...]]


_CONTENTS = TypeAdapter(_Contents).validate_json((files(__package__) / "aliases.json").read_bytes())

VOCABULARIES: Mapping[str, Vocabulary] = MappingProxyType(_CONTENTS.vocabularies)
"""`llama` is SentencePiece's (LLaMA 1 and 2, Vicuna, Mistral, TinyLlama, Phi-3), `llama3` and `qwen` are byte-level."""

LABEL_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(_CONTENTS.sets)
"""`parts` and `classes` of the part paper's Table 1, `scenes` (kinds, surfaces, merged parts), COCO's 80 classes."""


def surface_forms(label: str, vocabulary: str = "llama", capitals: bool = True) -> tuple[str, ...]:
    """The texts that stand for a label in a vocabulary.

    A label that `aliases.json` does not have stands for itself and its plural.

    Args:
        label: "leg".
        vocabulary: one of `VOCABULARIES`.
        capitals: whether "Leg" is one; the paper prints none.

    Raises:
        InputError: an unknown vocabulary, or an empty label.

    Example:
        >>> surface_forms("leg", capitals=False)
        (' leg', 'leg', ' legs', 'legs')
    """
    if vocabulary not in VOCABULARIES:
        raise InputError("Vocabulary of aliases", f"one of {', '.join(VOCABULARIES)}", repr(vocabulary))
    if not label.strip():
        raise InputError("Label", "a word", repr(label))
    forms = [form for form in VOCABULARIES[vocabulary].forms if capitals or "{Word}" not in form]
    words = _CONTENTS.words.get(label) or (label, _plural(label))
    written = [form.format(word=word, Word=word[:1].upper() + word[1:]) for word in words for form in forms]
    return tuple(dict.fromkeys(written))


@lru_cache(maxsize=256)
def _plural(label: str) -> str:
    # A second to import, and only labels of one's own need it.
    import inflect

    return str(inflect.engine().plural(label))
