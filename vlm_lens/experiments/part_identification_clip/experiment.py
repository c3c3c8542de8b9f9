"""CLIP's words for a part of an object, with its class token held to the part from layer l on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from vlm_lens.data import Dataset, Example
from vlm_lens.errors import InputError
from vlm_lens.estimates.identity import hash_of
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Experiment, Rows
from vlm_lens.experiments.object_parts.chosen import chosen_objects, steps_told
from vlm_lens.experiments.object_parts.labels import LabelTokens, labels_of, region_row
from vlm_lens.experiments.object_parts.regions import PartRegion, part_regions, shifted
from vlm_lens.experiments.part_identification_clip.candidates import (
    Vocabulary,
    read_vectors,
    sentences,
    vocabulary_of,
    write_vectors,
)
from vlm_lens.experiments.part_identification_clip.focus import Focus, ranks
from vlm_lens.experiments.part_identification_clip.options import PartIdentificationClipOptions
from vlm_lens.experiments.part_identification_clip.summary import check_first, summarised
from vlm_lens.experiments.summary import Summary
from vlm_lens.hooked_clip import HookedCLIP
from vlm_lens.metrics.identifiability import identifiability

CHOICES = {"split_labels": ("skip", "first piece"), "candidates": ("tokens", "words"),
           "weighs": ("regions", "pictures"), "bins": ("quartiles", "equal")}  # fmt: skip


class PartIdentificationClip(Experiment):
    """The rank of a part's label among CLIP's vocabulary, its class token held to the part from layer l on."""

    name = "part-identification-clip"
    paper = "Takishita et al. 2025"
    figures = "Figures 6, 8 and 9"
    question = "Can CLIP itself say which part a region shows?"
    needs = "pictures with objects whose parts have masks"
    Options = PartIdentificationClipOptions
    shard_size = 4

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """Pictures with one large object of a class; see `chosen_objects`."""
        for name, known in CHOICES.items():
            if getattr(options, name) not in known:
                raise InputError(f"Option {name!r}", f"one of {', '.join(known)}", repr(getattr(options, name)))
        sentences((), options.template)
        return chosen_objects(data, options)

    def facts(self, context: Context) -> Mapping[str, Any]:
        """Which CLIP, its depth, and how many candidates there are.

        Raises:
            InputError: a layer of tables and bars that the tower does not have.
        """
        clip = self._clip(context)
        check_first(context.options.from_layer, clip.vision.cfg.n_layers)  # said before anything runs
        return {
            "clip": clip.vision.cfg.model_name or context.options.clip,
            "clip_hash": hash_of(clip),
            "n_layers": clip.vision.cfg.n_layers,
            "n_candidates": len(self._vocabulary(context).words),
            "steps": steps_told(context.data),
        }

    def prepare(self, context: Context) -> None:
        """Embed the vocabulary's sentences."""
        write_vectors(self._clip(context), self._vocabulary(context), context.options.template, self._file(context))

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """Tables: `regions` (each part), `scores` (each layer from which the class token is held to it)."""
        found: dict[str, list[dict[str, Any]]] = {"regions": [], "scores": []}
        for example in examples:
            for target in example.targets:
                inputs = self._clip(context).prepare(example.image)
                parts = part_regions(inputs, target, context.options.threshold)
                labels = self._labels(context, parts)
                n = len(self._vocabulary(context).words)
                for part in parts:
                    found["regions"].append({"example": example.id, **region_row(part, labels, n, n_read=1)})
                found["scores"] += self._scores(context, example, parts, labels)
        return found

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Figures 6, 8 and 9."""
        return summarised(rows, options, facts)

    def _scores(
        self, context: Context, example: Example, parts: Sequence[PartRegion], labels: Mapping[str, LabelTokens]
    ) -> list[dict[str, Any]]:
        """Of one object: for each part and each layer, the part itself and a shape like it elsewhere."""
        readable = [
            part for part in parts if len(part.region) and (labels[part.part].tokens or labels[part.category].tokens)
        ]
        if not readable:
            return []
        clip, vocabulary = self._clip(context), self._vocabulary(context)
        n_layers, n = clip.vision.cfg.n_layers, len(vocabulary.words)
        targets = {
            name: list(dict.fromkeys(vocabulary.place_of[token] for token in one.tokens))
            for name, one in labels.items()
            if one.tokens
        }
        asked = [(part, first, None) for part in readable for first in range(n_layers + 1)]
        focuses = {(place, False): Focus(part.region, first) for place, (part, first, _) in enumerate(asked)}
        for place, (part, first, _) in enumerate(asked):
            moved = shifted(part.region, context.random(example.id, part.category, part.part, "elsewhere"))
            if moved is not None:
                focuses[place, True] = Focus(moved, first)
        found = ranks(
            clip, example.image, list(focuses.values()), targets, self._candidates(context), context.options.batch_size
        )
        by_focus = dict(zip(focuses, identifiability(found, n), strict=True))
        columns = list(targets)

        def score(place: int, is_elsewhere: bool, label: str) -> float:
            if label not in targets or (place, is_elsewhere) not in by_focus:
                return float(np.nan)
            return float(by_focus[place, is_elsewhere][columns.index(label)])

        return [
            {
                "example": example.id, "class": part.category, "part": part.part, "from_layer": first,
                "score": score(place, False, part.part), "null": score(place, True, part.part),
                "object_score": score(place, False, part.category), "object_null": score(place, True, part.category),
            }
            for place, (part, first, _) in enumerate(asked)
        ]  # fmt: skip

    def _labels(self, context: Context, parts: Sequence[PartRegion]) -> Mapping[str, LabelTokens]:
        """Labels in CLIP's vocabulary; a token that is no candidate is no alias."""
        names = dict.fromkeys(name for part in parts for name in (part.category, part.part))
        place_of = self._vocabulary(context).place_of
        found = labels_of(context, names, self._tokenizer(context))
        return {name: one.among(place_of) for name, one in found.items()}

    def _clip(self, context: Context) -> HookedCLIP:
        def load() -> HookedCLIP:
            device = context.vlm.embed.W_E.device
            if context.options.clip == "demo":
                return HookedCLIP.demo(device=device)
            return HookedCLIP.from_pretrained(context.options.clip, device=device)

        found: HookedCLIP = context.once("clip", load)
        return found

    def _tokenizer(self, context: Context) -> Any:
        return self._clip(context).processor.tokenizer

    def _vocabulary(self, context: Context) -> Vocabulary:
        options: Any = context.options
        found: Vocabulary = context.once(
            "vocabulary", lambda: vocabulary_of(self._tokenizer(context), options.candidates, options.distinct)
        )
        return found

    def _candidates(self, context: Context) -> Tensor:
        found: Tensor = context.once("candidates", lambda: read_vectors(self._clip(context), self._file(context)))
        return found

    def _file(self, context: Context) -> Path:
        return context.folder / "sentences.npy"
