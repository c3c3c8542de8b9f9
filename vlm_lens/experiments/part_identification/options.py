"""What can be chosen about the identification of parts."""

from dataclasses import dataclass

from vlm_lens.experiments.object_parts.options import CASES, KnockoutOptions
from vlm_lens.experiments.options import option


@dataclass(frozen=True)
class PartIdentificationOptions(KnockoutOptions):
    """What can be chosen."""

    merges_labels: bool = option(
        False,
        "whether the aliases of the picture's other labels stand as one token each where a label is ranked",
        paper=True,
        quirk="All label aliases are summed under single tokens before any rank is read, so that the rank of a label "
        "depends on which other labels are asked for. By default only its own are, and it does not.",
    )
    counts_unread: bool = option(
        False,
        "whether the last layers of the vision tower are counted from its end, with those that the decoder never reads",
        paper=True,
        quirk="LLaVA reads the tower's hidden state -2, so of its last 6 layers 5 act. By default the layers are "
        "counted from the last one that is read.",
    )
    settings: str = option(
        "all", "'all', 'knockouts' without the last layers of the vision tower, or 'none' without any knockout"
    )
    null: str = option(
        "scattered",
        "what a score is held against: as many patches 'scattered' over the rest of the picture, or the region's shape "
        "'shifted' over it; both are exact means",
    )
    null_of: str = option(
        "every setting", "'every setting' reads all patches under each, 'baseline' under none, which is faster"
    )
    filters_captions: bool = option(True, "whether objects are left out that a caption names while they are hidden")
    caption_prompt: str = option("Describe this image.", "what is asked for that caption, in the checkpoint's own form")
    caption_tokens: int = option(64, "new tokens of that caption", least=1)
    hides: str = option(
        "box",
        "what is painted in the mean colour for it: the object's 'box', which leaves no silhouette, or its 'pixels' "
        "(the paper leaves it open)",
    )
    layer: str = option(
        "last", "the decoder layer of tables and bars: 'last', 'best' (of the baseline, in these data), or its number"
    )
    weighs: str = option("regions", "whether each part region counts once in a mean, or each picture: 'pictures'")
    bins: str = option("quartiles", "part sizes in four bins of as many regions, or 'equal' in the logarithm of size")
    cases: tuple[str, ...] = option(CASES, "the cases that figures 4 and 8 show one by one: class and part")
