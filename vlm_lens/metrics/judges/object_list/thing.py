"""An object of a caption while the caption is read."""

from dataclasses import dataclass

from vlm_lens.metrics.judges.judge import Mention, NamedObject


@dataclass
class Thing:
    """An object that a caption names, under all its names.

    Attributes:
        names: what it is called: a cyclist, who is later called the man.
        is_several: whether it is named in the plural anywhere.
        mentions: where it is named.
    """

    names: list[str]
    is_several: bool
    mentions: list[Mention]

    @property
    def named(self) -> NamedObject:
        """The object by its first name."""
        return NamedObject(self.names[0], tuple(self.mentions))
