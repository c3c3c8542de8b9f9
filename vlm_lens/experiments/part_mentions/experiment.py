"""How often texts mention parts, alone and together with the objects that have them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pandas as pd

from vlm_lens.data import Dataset, Example
from vlm_lens.data.caption_file import read_captions
from vlm_lens.data.fingerprint import fingerprint_of
from vlm_lens.data.labels import read_part_words
from vlm_lens.data.panoptic_parts import CLASSES
from vlm_lens.errors import InputError
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Experiment, Rows
from vlm_lens.experiments.object_parts.known_parts import known_parts, write_known_parts
from vlm_lens.experiments.options import Options, option
from vlm_lens.experiments.part_mentions.correlation import scores_of
from vlm_lens.experiments.part_mentions.summary import OBJECT, PAIR, PART, summarised
from vlm_lens.experiments.summary import Summary
from vlm_lens.metrics.frequency import mention_frequency

PAPER, DATA = "paper", "data"


@dataclass(frozen=True)
class PartMentionsOptions(Options):
    """What can be chosen."""

    captions: tuple[str, ...] = option(
        (),
        "files of captions in the place of the data's own: COCO's, LLaVA's conversations, or lines of text",
    )
    parts_of: str = option(
        PAPER, "which objects and parts: table 1's seven classes ('paper'), or those that the data's annotations have"
    )
    words: str | None = option(
        None,
        "a JSON file of synonyms and hyponyms in the form of the one that ships; null for that one, which stands for "
        "WordNet",
    )
    expands: bool = option(True, "whether synonyms and hyponyms count, or the names alone")
    opi: str | None = option(None, "the folder of a finished run of part-identification, to correlate with")


class PartMentions(Experiment):
    """Counts of texts that name a part, and of those that name it with an object."""

    name = "part-mentions"
    paper = "Takishita et al. 2025"
    figures = "Figure 7 (appendix C)"
    question = "How often do texts name parts of objects, and are parts that are named often identified better?"
    needs = "pictures with captions, or files of captions (captions=FILE)"
    Options = PartMentionsOptions
    shard_size = 20_000

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """The data's examples that have a caption, or those of the files.

        Raises:
            InputError: parts of the data's annotations are asked for beside files, or by another word.
        """
        if options.parts_of not in (PAPER, DATA):
            raise InputError("Option 'parts_of'", f"{PAPER!r} or {DATA!r}", repr(options.parts_of))
        if options.captions and options.parts_of == DATA:
            advice = "Leave the files out, or take parts_of=paper."
            raise InputError("Option 'parts_of'", f"{PAPER!r} with files of captions", repr(DATA), advice)
        read = _of_files(options.captions) if options.captions else data
        return read.where("a caption", lambda example: bool(example.captions))

    def facts(self, context: Context) -> Mapping[str, Any]:
        """Objects with their parts, the terms that stand for each, and the scores to correlate with."""
        parts, options = _parts(context), context.options
        if not any(parts.values()):
            raise InputError(f"Data of {self.name}", "objects with parts", "none", "Take parts_of=paper.")
        return {
            "parts": parts,
            "terms": _terms(context, parts),
            "scores": None if options.opi is None else scores_of(options.opi),
        }

    def prepare(self, context: Context) -> None:
        """Objects and parts, for every shard."""
        if context.options.parts_of == DATA:
            write_known_parts(context)

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """A row for each part, object and pair that an example's texts name, and one for each example."""
        parts = _parts(context)
        terms = context.once("terms", lambda: _terms(context, parts))
        texts: list[dict[str, Any]] = []
        mentions: list[tuple[Any, ...]] = []
        for example in examples:
            found = mention_frequency(example.captions, terms["objects"], terms["parts"])
            texts.append({"example": example.id, "n_texts": found.n_texts})
            for place, one in enumerate(found.objects):
                mentions.append((example.id, OBJECT, one, "", int(found.of_object[place])))
                for other, part in enumerate(found.parts):
                    mentions.append((example.id, PAIR, one, part, int(found.together[place, other])))
            for other, part in enumerate(found.parts):
                mentions.append((example.id, PART, "", part, int(found.of_part[other])))
        columns = ("example", "kind", "object", "part", "n")
        return {"texts": texts, "mentions": [dict(zip(columns, row, strict=True)) for row in mentions if row[-1]]}

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Figure 7, and the correlation with identifiability where a run is given."""
        return summarised(rows, options, facts)


def _of_files(files: Sequence[str]) -> Dataset:
    """The captions of several files as one dataset; a name says from which file it is where there are several."""
    read = [read_captions(file) for file in files]
    if len(read) == 1:
        return read[0]
    examples = [replace(one, id=f"{number}/{one.id}") for number, found in enumerate(read) for one in found]
    known = fingerprint_of([found.fingerprint for found in read])
    return Dataset(f"captions {' '.join(files)}", known, tuple(examples))


def _parts(context: Context) -> dict[str, list[str]]:
    """For each object its parts."""
    if context.options.parts_of == PAPER:
        return {name: list(one.table_1) for name, one in CLASSES.items() if one.table_1 is not None}
    return known_parts(context)


def _terms(context: Context, parts: Mapping[str, Sequence[str]]) -> dict[str, dict[str, list[str]]]:
    """What else each object and each part is called."""
    if not context.options.expands:
        return {"objects": {name: [] for name in parts}, "parts": {name: [] for name in chain(*parts.values())}}
    words = read_part_words(context.options.words)
    return {
        "objects": {name: list(words.of_object(name)[1:]) for name in parts},
        "parts": {name: list(words.of_part(name)[1:]) for name in chain(*parts.values())},
    }
