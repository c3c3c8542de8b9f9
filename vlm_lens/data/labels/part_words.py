"""Other words for parts and objects, for counting how often people speak of them.

The part paper (App. C) takes synonyms and hyponyms from WordNet, whose data is in no package. `part_words.json` is
ours, from common knowledge: words that somebody who describes a picture would use. Another file of the same form may be
given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pydantic import TypeAdapter

from vlm_lens.data.json_records import parse_json, read_bytes


@dataclass(frozen=True)
class Words:
    """Other words for a label.

    Attributes:
        synonyms: that mean the same: "snout" for a muzzle.
        hyponyms: that mean a kind of it: "thumb" for a hand, "puppy" for a dog.
    """

    synonyms: tuple[str, ...] = ()
    hyponyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartWords:
    """Other words for each part and each object, the label itself not among them."""

    parts: Mapping[str, Words]
    objects: Mapping[str, Words]

    def of_part(self, part: str) -> tuple[str, ...]:
        """A part's label and its other words; a part without an entry has its label alone."""
        return _all_words(part, self.parts)

    def of_object(self, name: str) -> tuple[str, ...]:
        """The same for an object."""
        return _all_words(name, self.objects)


def read_part_words(path: str | Path | None = None) -> PartWords:
    """The words of a file, or of the one that is part of this package.

    Raises:
        InputError: no such file, no JSON, or one of another form.
    """
    bundled = str(files(__package__) / "part_words.json")
    place = Path(path or bundled)
    parse = TypeAdapter(PartWords).validate_python
    return parse_json(read_bytes(place, "Words of parts"), parse, place, "Words of parts")


def _all_words(label: str, words: Mapping[str, Words]) -> tuple[str, ...]:
    found = words.get(label, Words())
    return tuple(dict.fromkeys((label, *found.synonyms, *found.hyponyms)))
