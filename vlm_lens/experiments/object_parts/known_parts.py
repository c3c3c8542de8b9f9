"""The parts that each class of a data set has."""

import json
from collections.abc import Iterable

from vlm_lens.data import Example
from vlm_lens.experiments.context import Context

FILE = "parts.json"


def parts_of_classes(examples: Iterable[Example]) -> dict[str, list[str]]:
    """For each class the parts that some example shows, in the order of the alphabet."""
    found: dict[str, set[str]] = {}
    for example in examples:
        for one in example.annotations:
            found.setdefault(one.category, set()).update(part for part, mask in one.parts.items() if mask.any())
    return {category: sorted(parts) for category, parts in sorted(found.items()) if parts}


def known_parts(context: Context) -> dict[str, list[str]]:
    """The same of all examples of a run: from its folder where they are written, as all masks take a while."""

    def read() -> dict[str, list[str]]:
        file = context.folder / FILE
        known: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return known or parts_of_classes(context.data)

    found: dict[str, list[str]] = context.once(FILE, read)
    return found


def write_known_parts(context: Context) -> None:
    """Write them for every shard."""
    written = context.folder / f"{FILE}.new"
    written.write_text(json.dumps(known_parts(context)), encoding="utf-8")
    written.replace(context.folder / FILE)
