"""What the judge knows of words: names of objects, how they relate, and the grammar around them. All of it is data."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

OBJECTS = Path(__file__).parent / "objects.json"
GRAMMAR = Path(__file__).parent / "grammar.json"


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Names of objects, and the words around them.

    Attributes:
        objects: for each group and each name in it, the other words for the same thing.
        kinds: for each broader name its narrower ones, one step down.
        traits: what tells people apart: sex and age.
        roleless: people whose name tells no role: a man can be a cyclist, a skier cannot.
        several: words that mean several things though they are no plural, or have none.
        senses: words that mean another thing where some word stands in the same sentence.
        grammar: lists of words by what they do.
        digest: of the two files.
    """

    objects: Mapping[str, Mapping[str, list[str]]]
    kinds: Mapping[str, list[str]]
    traits: Mapping[str, Mapping[str, str]]
    roleless: frozenset[str]
    several: frozenset[str]
    senses: Mapping[str, list[dict[str, Any]]]
    grammar: Mapping[str, Any]
    digest: str

    @cached_property
    def phrases(self) -> Mapping[tuple[str, ...], str]:
        """For each phrase, as words, the object it names. A name with a bracket is one that no caption has."""
        named = {}
        for group in self.objects.values():
            for name, others in group.items():
                for phrase in (name, *others):
                    if "(" not in phrase:
                        named[tuple(phrase.split())] = name
        return named

    @cached_property
    def blocked(self) -> frozenset[tuple[str, ...]]:
        """Phrases whose words name no object there: "body of water"."""
        return frozenset(tuple(phrase.split()) for phrase in self.grammar["phrases that are no objects"])

    @cached_property
    def longest(self) -> int:
        """Words in the longest phrase."""
        return max(map(len, (*self.phrases, *self.blocked)))

    @cached_property
    def group_of(self) -> Mapping[str, str]:
        """For each name its group: "people", "food"."""
        return {name: group for group, names in self.objects.items() for name in names}

    @cached_property
    def broader(self) -> Mapping[str, frozenset[str]]:
        """For each name all broader ones, however far up; every name of people is a kind of person."""
        up: dict[str, set[str]] = {name: set() for name in self.group_of}
        for name, narrower in self.kinds.items():
            for one in narrower:
                up[one].add(name)
        for name in self.objects["people"]:
            up[name].add("person")
        up["person"].clear()
        found = {}
        for name in up:
            above, left = set(), list(up[name])
            while left:
                one = left.pop()
                if one not in above:
                    above.add(one)
                    left.extend(up[one])
            found[name] = frozenset(above - {name})
        return found

    def words(self, *lists: str) -> frozenset[str]:
        """The words of some lists of the grammar."""
        return _split(*(self.grammar[name] for name in lists))

    def not_objects(self, *groups: str) -> frozenset[str]:
        """Nouns that name no object: places, events, positions; all of them where no group is named."""
        lists = self.grammar["not objects"]
        return _split(*(lists[group] for group in groups or lists))

    def is_alive(self, name: str | None) -> bool:
        """Whether a name is a person's or an animal's."""
        return self.group_of.get(name or "") in ("people", "animals")


@cache
def _split(*lists: str) -> frozenset[str]:
    return frozenset(" ".join(lists).split())


@lru_cache(maxsize=1)
def bundled_lexicon() -> Lexicon:
    """The lexicon that ships with the package."""
    objects, grammar = OBJECTS.read_bytes(), GRAMMAR.read_bytes()
    known = json.loads(objects)
    return Lexicon(
        known["objects"],
        known["kinds"],
        known["traits"],
        frozenset(known["without a role"]),
        frozenset(known["always several"]),
        known["senses"],
        json.loads(grammar),
        hashlib.sha256(objects + b"\0" + grammar).hexdigest()[:16],
    )
