"""What can be chosen about CLIP's identification of parts."""

from dataclasses import dataclass

from vlm_lens.experiments.object_parts.options import CASES, PartOptions
from vlm_lens.experiments.options import option


@dataclass(frozen=True)
class PartIdentificationClipOptions(PartOptions):
    """What can be chosen."""

    clip: str = option("demo", "the CLIP model: a checkpoint's folder or name; 'demo' is the bundled one")
    template: str = option("A photo of {}", "the sentence that each candidate stands in")
    candidates: str = option("tokens", "'tokens' for every token of CLIP's vocabulary, 'words' for whole words alone")
    distinct: bool = option(
        True,
        "whether tokens that give the same sentence are one candidate",
        paper=False,
        quirk="The vocabulary has most words twice, with and without the mark of a word's end; both give one sentence, "
        "so each is counted twice above any worse label. By default such tokens are one candidate.",
    )
    from_layer: str = option(
        "paper", "the layer of tables and bars: 'paper' (22 of 24, or its share of the depth), 'best' (in these data), "
        "or its number"
    )  # fmt: skip
    batch_size: int = option(32, "pictures that CLIP is given at once", least=1)
    beside: str = option("", "the folder of a finished run of part-identification, shown beside CLIP")
    bins: str = option("quartiles", "part sizes in four bins of as many regions, or 'equal' in the logarithm of size")
    cases: tuple[str, ...] = option(CASES, "the cases that figure 8 shows one by one: class and part")
    weighs: str = option("regions", "whether each part region counts once in a mean, or each picture: 'pictures'")
