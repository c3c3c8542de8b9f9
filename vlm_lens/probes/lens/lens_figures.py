"""Which figure shows a lens's reading."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vlm_lens.errors import InputError
from vlm_lens.layout import Region, TokenLayout
from vlm_lens.plotting import lens_by_layer, lens_lines, lens_map, lens_strip, lens_table
from vlm_lens.plotting.seen_picture import patch_picture
from vlm_lens.probes.places import span_of

KINDS = ("map", "strip", "tokens", "layers", "targets", "entropy")


def lens_figure(
    reading: Any, kind: str | None, row: int, image: int, region: Region | None, options: Mapping[str, Any]
) -> Any:
    """The figure of a kind, or of the kind that fits.

    Args:
        reading: a `LensReading`.
        kind: one of `KINDS`, or None.
        row: of the batch.
        image: of the row.
        region: patches to outline.
        options: of the figure.

    Raises:
        InputError: an unknown kind, or targets where none were followed.
    """
    here = reading.row(row)
    if kind is None:
        has_patches = bool(reading.places.is_patch_of(row, image).any())
        kind = "map" if has_patches else "layers" if len(here.places) == 1 else "tokens"
    if kind in ("map", "strip"):
        return _over_picture(reading, kind, row, image, region, options)
    if kind == "tokens":
        here = _text_of(here)
        return lens_table(here.top, here.states, _labels(here), **options)
    if kind == "layers":
        return lens_by_layer(here.top[:, -1], here.states, **options)
    if kind in ("targets", "entropy"):
        return _lines(here, kind, options)
    raise InputError("Kind of figure", f"one of {', '.join(KINDS)}", repr(kind))


def _over_picture(
    reading: Any, kind: str, row: int, image: int, region: Region | None, options: Mapping[str, Any]
) -> Any:
    top = reading.top_patches(image=image, row=row)
    number = (
        image if not isinstance(reading.layout, TokenLayout) else sum(map(len, reading.layout.images[:row])) + image
    )
    number = number if isinstance(reading.layout, TokenLayout) else row
    opened = reading.images[number] if number < len(reading.images) else None
    picture = patch_picture(span_of(reading.layout, row, image), opened, region)
    if kind == "strip":
        return lens_strip(picture, top, reading.states, **options)
    targets = {
        name: np.nan_to_num(reading.patches("probability", name, image=image, row=row)) for name in reading.targets
    }
    return lens_map(picture, top, reading.states, targets=targets, **options)


def _lines(here: Any, kind: str, options: Mapping[str, Any]) -> Any:
    """What was followed, over layers; of several positions the mean."""
    n = len(here.places)
    of_several = f", mean of {n} positions" if n > 1 else ""
    if kind == "entropy":
        values = here.entropy.mean(axis=1, keepdims=True)
        return lens_lines(values, ["entropy"], here.states, title=f"entropy in nats{of_several}", **options)
    if not here.targets:
        raise InputError("Figure of targets", "targets that were followed", "none", "LogitLens(targets=[' cat']).")
    values = here.target_probabilities.mean(axis=1)
    return lens_lines(values, here.targets, here.states, title=f"probability{of_several}", **options)


def _text_of(here: Any) -> Any:
    """The positions that are no image, where there are any: hundreds of patches are no columns of a table."""
    is_text = here.places.patch_rows < 0
    return here._at(is_text) if is_text.any() else here


def _labels(here: Any) -> list[str]:
    """What stands under each column: the token, or what else the position is."""
    places = here.places
    return [
        f"{token if token else role}" for token, role in zip(places.tokens.tolist(), places.roles.tolist(), strict=True)
    ]
