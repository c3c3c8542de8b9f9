"""Each patch labelled by the part that its row says, held against the parts' pixels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from einops import rearrange
from jaxtyping import Float, Int

from vlm_lens.data import Dataset, Example
from vlm_lens.errors import InputError
from vlm_lens.estimates.identity import name_of
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.experiment import Experiment, Rows
from vlm_lens.experiments.object_parts.known_parts import known_parts, write_known_parts
from vlm_lens.experiments.object_parts.labels import LabelTokens, labels_of
from vlm_lens.experiments.options import Options, option
from vlm_lens.experiments.part_segmentation.predictions import (
    CHANCE,
    LENS,
    MAJORITY,
    SEGMENTER,
    SHUFFLED,
    Counts,
    overlap_by_chance,
    overlap_of_patches,
    overlap_of_pixels,
    patch_labels,
    shares_of,
)
from vlm_lens.experiments.part_segmentation.summary import summarised
from vlm_lens.experiments.part_segmentation.truth import PartLabel, Truth, candidates_of
from vlm_lens.experiments.summary import Summary
from vlm_lens.inputs import Inputs
from vlm_lens.probes import LogitLens
from vlm_lens.segmenters import Segmenter, segmenter_named

NONE, CLIPSEG = "none", "clipseg:"
CHOICES = {"candidates": ("image", "all"), "background": ("void", "counted"), "split_labels": ("skip", "first piece")}


@dataclass(frozen=True)
class PartSegmentationOptions(Options):
    """What can be chosen."""

    prompt: str = option("USER: <image>", "the prompt, as it stands: no template is put around it")
    pad_to_square: bool = option(
        False,
        "whether pictures are padded to a square first",
        paper=True,
        quirk="LLaVA's own code pads with the mean colour, so that every pixel is seen; its processor in transformers "
        "crops. By default the checkpoint's processor is left alone, and pixels that the model never saw are void, for "
        "every method alike.",
    )
    layer: str | int = option(
        "held out",
        "which state is read: 'held out' for the one that is best on the other half of the pictures, 'last', or a "
        "number, 0 for what enters the decoder; the paper does not say",
    )
    candidates: str = option(
        "image",
        "which labels a patch may have: the parts of the classes in its 'image', or 'all'; the paper does not say",
    )
    background: str = option(
        "void", "whether pixels without a part are 'void', as in the benchmark, or 'counted' against what is said there"
    )
    split_labels: str = option(
        "skip",
        "what is done with a label that is no whole token: 'skip' leaves it and its pixels out, for every method "
        "alike, or it is read by its 'first piece'",
        paper="first piece",
        quirk="All 116 labels of OVParts are scored, and many are no token of the vocabulary, so some piece must stand "
        "for them. By default they are left out, and said.",
    )
    capitals: bool = option(
        True, "whether 'Leg' stands for 'leg' beside ' leg', ' legs' and so on; the paper prints no capital"
    )
    segmenter: str = option(NONE, "the text-prompted baseline: 'none' or 'clipseg:PATH'")
    segmenter_text: str = option("{category}'s {part}", "what it is asked for each label")


class PartSegmentation(Experiment):
    """The overlap of what patches say with the pixels of parts, beside chance and a text-prompted segmenter."""

    name = "part-segmentation"
    paper = "Takishita et al. 2025"
    figures = "Table 2 (appendix E)"
    question = "How well do the words that patches say segment the parts of objects?"
    needs = "pictures with objects whose parts have masks"
    Options = PartSegmentationOptions

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """Pictures with an object whose parts a reader knows; no mask is read for it."""
        for name, known in CHOICES.items():
            if getattr(options, name) not in known:
                raise InputError(f"Option {name!r}", f"one of {', '.join(known)}", repr(getattr(options, name)))
        return data.where(
            "an object with parts", lambda example: any(one.read_parts is not dict for one in example.annotations)
        )

    def facts(self, context: Context) -> Mapping[str, Any]:
        """Depth, the model's name, the parts of each class, and labels that the tokenizer splits."""
        parts = known_parts(context)
        if not parts:
            rule, got = "pictures with masks of parts", "no part in any of them"
            raise InputError(f"Data of {self.name}", rule, got, "Give ovparts:FOLDER or panoptic-parts:FOLDER.")
        vlm = context.vlm
        return {
            "model": name_of(vlm),
            "n_layers": vlm.cfg.n_layers,
            "segmenter": None if (segmenter := _segmenter(context)) is None else segmenter.fingerprint(),
            "parts": parts,
            "split": _split(context, sorted({part for named in parts.values() for part in named})),
            "split_classes": _split(context, parts),
        }

    def prepare(self, context: Context) -> None:
        """The parts of each class, as all pictures have them, for every shard."""
        write_known_parts(context)

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """A row for each picture, and one for each method, state and label of it."""
        pictures, counts = [], []
        for example in examples:
            picture, found = self._of(context, example)
            pictures.append({"example": example.id, **picture})
            counts += [{"example": example.id, **row} for row in found]
        return {"pictures": pictures, "counts": counts}

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Table 2, the overlap by layer and by label, and two claims."""
        return summarised(rows, options, facts)

    def _of(self, context: Context, example: Example) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        vlm, options = context.vlm, context.options
        inputs = vlm.prepare(example.image, options.prompt, template="literal", pad_to_square=options.pad_to_square)
        span, labels = inputs.layout.image_span(0), self._labels(context, example)
        truth, counts_background = Truth.of(example, span, labels), options.background == "counted"
        pixels = truth.counts(span.grid.n_patches, counts_background)
        n_part_pixels = int(pixels[:, :-1].sum())
        picture = {"n_labels": len(labels), "n_pixels": n_part_pixels, "share_unseen": truth.share_unseen}
        if not n_part_pixels:
            return picture, []
        layers, said = self._said(context, inputs, labels)
        rows = []
        for layer, predicted in zip(layers, said, strict=True):
            rows += _rows(LENS, layer, labels, overlap_of_patches(predicted, pixels))
            rows += _rows(SHUFFLED, layer, labels, overlap_by_chance(shares_of(predicted, pixels), pixels))
        rows += _rows(CHANCE, None, labels, overlap_by_chance(np.full(len(labels), 1 / len(labels)), pixels))
        rows += _rows(MAJORITY, None, labels, overlap_of_patches(pixels[:, :-1].argmax(axis=1), pixels))
        if (segmenter := _segmenter(context)) is not None:
            texts = [
                options.segmenter_text.replace("{category}", one.category).replace("{part}", one.part)
                for one in labels
            ]  # fmt: skip
            best = segmenter.segment(example.image, texts).argmax(axis=0)
            rows += _rows(SEGMENTER, None, labels, overlap_of_pixels(best, truth, counts_background))
        return picture, rows

    def _said(
        self, context: Context, inputs: Inputs, labels: Sequence[PartLabel]
    ) -> tuple[list[int], Int[np.ndarray, "state patch"]]:
        """The states, 0 for what enters the decoder, and the label that each patch says after each."""
        classes, parts = (list(dict.fromkeys(names)) for names in zip(*labels, strict=True))
        words = {_part(part): _tokens(context, part).tokens for part in parts}
        words |= {_object(one): tokens for one in classes if (tokens := _tokens(context, one).tokens)}
        lens = LogitLens(top_k=1, targets=words, positions="image")
        reading = context.vlm.run(inputs, lens)[lens]

        def of(word: str) -> Float[np.ndarray, "state patch"]:
            return rearrange(reading.patches("log_probability", word), "state row column -> state (row column)")

        objects = {one: of(_object(one)) for one in classes if _object(one) in words}
        return [layer + 1 for layer in reading.layers], patch_labels(labels, {p: of(_part(p)) for p in parts}, objects)

    def _labels(self, context: Context, example: Example) -> list[PartLabel]:
        """The candidates that have a token."""
        found = candidates_of(example, known_parts(context), context.options.candidates)
        return [label for label in found if _tokens(context, label.part).tokens]


def _rows(method: str, state: int | None, labels: Sequence[PartLabel], counts: Counts) -> list[dict[str, Any]]:
    """A row for each label that was annotated or predicted."""
    return [
        {"method": method, "state": state, "label": str(label),
         **{name: float(values[place]) for name, values in counts.items()}}
        for place, label in enumerate(labels)
        if counts["annotated"][place] or counts["predicted"][place]
    ]  # fmt: skip


def _split(context: Context, words: Iterable[str]) -> dict[str, list[str]]:
    """The words that are no whole token, with their pieces."""
    return {word: list(found.pieces) for word in words if (found := _tokens(context, word)).pieces}


def _tokens(context: Context, word: str) -> LabelTokens:
    return labels_of(context, [word], context.vlm.tokenizer)[word]


def _segmenter(context: Context) -> Segmenter | None:
    name = context.options.segmenter
    if name == NONE:
        return None
    if not name.startswith(CLIPSEG):
        raise InputError("Option 'segmenter'", f"{NONE!r} or '{CLIPSEG}FOLDER'", repr(name))
    found: Segmenter = context.once("segmenter", lambda: segmenter_named(name, context.vlm.embed.W_E.device))
    return found


def _part(word: str) -> str:
    return f"part {word}"


def _object(word: str) -> str:
    return f"object {word}"
