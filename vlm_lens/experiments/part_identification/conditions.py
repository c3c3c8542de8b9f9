"""What one picture is run under: every part of its objects, under every setting, each with its own lens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlm_lens.experiments.object_parts.knockouts import NONE, SETTINGS, knockouts
from vlm_lens.experiments.object_parts.labels import LabelTokens
from vlm_lens.experiments.object_parts.regions import PartRegion
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.probes import LogitLens


@dataclass(frozen=True, eq=False)
class ReadPart:
    """One part under one setting, and where it is read.

    Attributes:
        part: the region and its label.
        setting: what the part is cut off by.
        condition: the name of the condition.
        lens: follows the part's label and its object's, those of them that have a token.
    """

    part: PartRegion
    setting: str
    condition: tuple[str, ...]
    lens: LogitLens


@dataclass(frozen=True, eq=False)
class Conditions:
    """The conditions of a picture, and what is read of them."""

    objects: Mapping[tuple[str, ...], Sequence[Any]]
    reads: Sequence[ReadPart]


def conditions_of(
    vlm: HookedVLM, parts: Sequence[PartRegion], labels: Mapping[str, LabelTokens], options: Any
) -> Conditions:
    """Every part under every setting. Without a knockout, the parts of an object share one condition.

    Args:
        vlm: the model.
        parts: with at least one patch each, of which part or object can be read.
        labels: the tokens of each label.
        options: `PartIdentificationOptions`.
    """
    objects: dict[tuple[str, ...], list[Any]] = {}
    reads = []
    for category in dict.fromkeys(part.category for part in parts):
        of_class = [part for part in parts if part.category == category]
        every = _targets([category, *(part.part for part in of_class)], labels)
        clean = LogitLens(top_k=1, targets=every, merges_targets=options.merges_labels, positions="image")
        objects[category, NONE] = [clean]
        for part in of_class:
            reads.append(ReadPart(part, NONE, (category, NONE), clean))
            targets = every if options.merges_labels else _targets([category, part.part], labels)
            positions = "image" if options.null_of == "every setting" else part.region
            lens = LogitLens(top_k=1, targets=targets, merges_targets=options.merges_labels, positions=positions)
            for setting, blocked in _chosen(knockouts(vlm, part.region, options), options).items():
                key = category, part.part, setting
                objects[key] = [*blocked, lens]
                reads.append(ReadPart(part, setting, key, lens))
    return Conditions(objects, reads)


def _targets(names: Sequence[str], labels: Mapping[str, LabelTokens]) -> dict[str, list[int]]:
    return {name: list(labels[name].tokens) for name in dict.fromkeys(names) if labels[name].tokens}


def _chosen(found: Mapping[str, Any], options: Any) -> dict[str, Any]:
    """The knockouts that the option `settings` asks for."""
    if options.settings == "none":
        return {}
    return {
        name: one for name, one in found.items() if name != NONE and (options.settings == "all" or name in SETTINGS)
    }
