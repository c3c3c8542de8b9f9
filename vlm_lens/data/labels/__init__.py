"""Labels of parts and objects: what a vocabulary writes them as, and other words for them."""

from vlm_lens.data.labels.aliases import Aliases, alias_table, aliases_of
from vlm_lens.data.labels.forms import LABEL_SETS, VOCABULARIES, surface_forms
from vlm_lens.data.labels.part_words import PartWords, read_part_words

__all__ = [
    "LABEL_SETS",
    "VOCABULARIES",
    "Aliases",
    "PartWords",
    "alias_table",
    "aliases_of",
    "read_part_words",
    "surface_forms",
]
