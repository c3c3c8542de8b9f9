"""A judge that knows words: offline, and always of the same opinion."""

from dataclasses import dataclass
from importlib.metadata import version

from vlm_lens.metrics.judges.judge import Comparison, Judge, NamedObject
from vlm_lens.metrics.judges.object_list.lexicon import bundled_lexicon
from vlm_lens.metrics.judges.object_list.matching import matches
from vlm_lens.metrics.judges.object_list.reading import things_of


@dataclass(frozen=True, eq=False)
class ObjectListJudge(Judge):
    """The objects of two captions by a list of names, their plurals, synonyms and compounds; English.

    Grounds, places, sky and weather, what is denied, and nouns that only describe another noun do not count. Two
    objects are the same by name, or where one name is broader than the other.

    Attributes:
        open_vocabulary: whether a noun that the list does not know counts too, where an article or a number stands
            before it.

    Example:
        >>> found = ObjectListJudge().compare("A cyclist with a helmet. There is no dog.", "A person wears a cap.")
        >>> [(str(one), str(other)) for one, other in found.matched], *map(str, found.lost), *map(str, found.invented)
        ([('cyclist', 'person')], 'helmet', 'cap')
    """

    open_vocabulary: bool = True

    def objects(self, caption: str) -> tuple[NamedObject, ...]:
        """The physical objects that a caption names, in the order of their first mention."""
        things = things_of(caption, bundled_lexicon(), open_vocabulary=self.open_vocabulary)
        return tuple(thing.named for thing in things)

    def compare(self, reference: str, candidate: str) -> Comparison:
        lexicon = bundled_lexicon()
        one = things_of(reference, lexicon, open_vocabulary=self.open_vocabulary)
        other = things_of(candidate, lexicon, open_vocabulary=self.open_vocabulary)
        named, others = [thing.named for thing in one], [thing.named for thing in other]
        return Comparison.of(
            named, others, [(named[row], others[column]) for row, column in matches(one, other, lexicon)]
        )

    def fingerprint(self) -> str:
        libraries = ", ".join(f"{name} {version(name)}" for name in ("inflect", "simplemma"))
        return f"objects(open_vocabulary={self.open_vocabulary}, words={bundled_lexicon().digest}, {libraries})"
