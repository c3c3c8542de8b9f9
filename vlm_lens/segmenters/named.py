"""A segmenter from one line, as it is written among options."""

import torch

from vlm_lens.errors import InputError
from vlm_lens.segmenters.clipseg import CLIPSegSegmenter
from vlm_lens.segmenters.given import GivenMasks
from vlm_lens.segmenters.segmenter import Segmenter


def segmenter_named(name: str, device: str | torch.device = "cpu") -> Segmenter:
    """A segmenter by its name: `given`, or `clipseg:FOLDER`.

    Args:
        name: which, and where its weights lie.
        device: where to run it.

    Raises:
        InputError: a name that does not exist, or clipseg without a folder.
        CheckpointError: nothing to load there.

    Example:
        >>> segmenter_named("given")
        GivenMasks()
    """
    kind, _, place = name.partition(":")
    if kind == "given" and not place:
        return GivenMasks()
    if kind == "clipseg" and place:
        return CLIPSegSegmenter(place, device)
    raise InputError(
        "Segmenter", "given or clipseg:FOLDER", repr(name), "Such as clipseg:/models/clipseg-rd64-refined."
    )
