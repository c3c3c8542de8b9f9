"""A part cut off from the rest of the picture, in the vision tower, in the decoder, or in both."""

from collections.abc import Mapping
from typing import Any

from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.interventions import AttentionKnockout
from vlm_lens.layout import Region

NONE, ENCODER, DECODER, FULL = "No AK", "AK in CLIP encoder", "AK in LLM decoder", "Full AK"
SETTINGS = (NONE, ENCODER, DECODER, FULL)

PAPER_DEPTH = 24
PAPER_LAST = (6, 12, 18)


def knockouts(vlm: HookedVLM, region: Region, options: Any) -> dict[str, list[AttentionKnockout]]:
    """For each setting what is attached: the paper's four, then the last layers of the vision tower.

    Args:
        vlm: whose towers they are.
        region: the patches that are cut off.
        options: with `keeps_class_token`, `keeps_text`, `counts_unread`.

    Source: section 4.3 and 4.4.
    """
    decoder = decoder_knockout(region, options.keeps_text)

    def encoder(layers: range) -> AttentionKnockout:
        return encoder_knockout(region, layers, options.keeps_class_token)

    every = range(vlm.vision.cfg.n_layers)
    found = {NONE: [], ENCODER: [encoder(every)], DECODER: [decoder], FULL: [encoder(every), decoder]}
    return found | {name: [encoder(layers)] for name, layers in layers_of_tower(vlm, options).items()}


def encoder_knockout(region: Region, layers: Any, keeps_class_token: bool) -> AttentionKnockout:
    """Attention between a region and the other patches, blocked both ways in the vision tower.

    Args:
        region: it still sees itself, and the others each other.
        layers: in which.
        keeps_class_token: whether region and class token still see each other.
    """
    others: list[Any] = [~region] if keeps_class_token else [~region, "cls"]
    return AttentionKnockout(
        [region], others, layers=layers, tower="vision", bidirectional=True, on_empty="skip"
    )  # a part as large as the picture has nothing to be cut off from


def decoder_knockout(region: Region, keeps_text: bool) -> AttentionKnockout:
    """The rows of a region no longer see the other patches before them in the decoder.

    Args:
        region: it still sees itself.
        keeps_text: whether it still sees the words before the picture.
    """
    others: list[Any] = [~region] if keeps_text else [~region, "prompt_text"]
    return AttentionKnockout([region], others, on_empty="skip")


def last_layers(n_layers: int, n_read: int, counts_unread: bool) -> Mapping[str, range]:
    """The last 6, 12 and 18 of 24 layers of a vision tower, at the same share of the depth in another tower.

    Args:
        n_layers: of the tower.
        n_read: how many of them stand before the features that the decoder is given: 23 of LLaVA's 24.
        counts_unread: whether they are counted from the tower's end, or from the last layer that is read.
    """
    end = n_layers if counts_unread else n_read
    found = {}
    for last in PAPER_LAST:
        n = min(end - 1, max(1, int(last / PAPER_DEPTH * n_layers + 0.5)))
        found[f"last {n}"] = range(end - n, end)
    return found


def layers_of_tower(vlm: HookedVLM, options: Any) -> Mapping[str, range]:
    """`last_layers` of a model."""
    return last_layers(vlm.vision.cfg.n_layers, n_layers_read(vlm), options.counts_unread)


def n_layers_read(vlm: HookedVLM) -> int:
    """How many layers of the vision tower stand before its features: 23 of 24 where hidden state -2 is selected."""
    return max(vlm.features.depths(vlm.vision.cfg.n_layers))
