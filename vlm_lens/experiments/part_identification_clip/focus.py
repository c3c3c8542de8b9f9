"""CLIP's class token, held to a region from some layer on: which words it is nearest to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_lens.hooked_clip import HookedCLIP
from vlm_lens.interventions import AttentionKnockout
from vlm_lens.layout import Region
from vlm_lens.probes import LogitLens


@dataclass(frozen=True, eq=False)
class Focus:
    """One reading of a picture.

    Attributes:
        region: what the class token is held to.
        first: the first layer in which it is; the tower's depth for none.
    """

    region: Region
    first: int


def ranks(
    clip: HookedCLIP,
    image: Any,
    focuses: Sequence[Focus],
    targets: Mapping[str, Sequence[int]],
    candidates: Float[Tensor, "candidate d_embed"],
    batch_size: int = 32,
) -> Int[np.ndarray, "focus target"]:
    """The rank of each target among all candidates, with the class token and each region seeing nothing else.

    Layers before `first` run as they are. Each reading is a row of a batch of the same picture.

    Args:
        clip: the model.
        image: the picture.
        focuses: what it is read with.
        targets: for each label the numbers of its candidates; their probabilities are summed.
        candidates: vectors that the projected class token is compared with.
        batch_size: rows at once.

    Source: "Object part identification", section 4.5.
    """
    lens = LogitLens(
        top_k=1,
        targets={name: list(one) for name, one in targets.items()},
        tower="vision",
        candidates=candidates,
        positions="cls",
        layers=-1,
    )
    found = []
    for start in range(0, len(focuses), batch_size):
        part = focuses[start : start + batch_size]
        inputs = clip.prepare([image] * len(part))
        reading = clip.run(inputs, *_knockouts(clip, inputs, part), lens)[lens]
        found.append(reading.target_ranks[-1])
    return np.concatenate(found)


def _knockouts(clip: HookedCLIP, inputs: Any, focuses: Sequence[Focus]) -> list[AttentionKnockout]:
    """One for each first layer, over all rows that begin there: a row without blocked keys is left as it is."""
    n_layers, knockouts = clip.vision.cfg.n_layers, []
    # Masks, and not regions: among several rows, each region would be looked for in all of them.
    held = inputs.pictures.with_class_tokens(1).mask("cls")
    for row, focus in enumerate(focuses):
        held[row, list(focus.region.vision_positions(True))] = True
    for first in sorted({focus.first for focus in focuses if focus.first < n_layers}):
        begins = torch.tensor([focus.first == first for focus in focuses])[:, None]
        knockouts.append(
            AttentionKnockout(
                held & begins,
                ~held & begins,
                layers=range(first, n_layers),
                tower="vision",
                on_empty="skip",
            )
        )
    return knockouts
