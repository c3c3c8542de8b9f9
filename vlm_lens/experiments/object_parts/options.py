"""What can be chosen about every experiment on parts of objects."""

from dataclasses import dataclass

from vlm_lens.data.selections import PART_CATEGORIES
from vlm_lens.experiments.options import Options, option

CASES = ("cat eye", "dog eye", "bird leg", "person leg", "cow head")
"""Cases of which the paper speaks beside figure 4 and in figure 8; which five figure 4 shows is not in its text."""


@dataclass(frozen=True)
class PartOptions(Options):
    """What can be chosen."""

    classes: tuple[str, ...] = option(PART_CATEGORIES, "the classes of objects, as the data call them")
    least_share: float = option(0.2, "the least share of the picture that the object covers; 0.02 for bundled scenes")
    most_per_class: int = option(100, "pictures of a class at most, drawn by `sample_seed`", least=1)
    sample_seed: int = option(0, "of the pictures drawn where a class has more")
    threshold: float = option(
        0.0, "the share of a patch that a part must cover; any overlap by default (the paper leaves it open)"
    )
    split_labels: str = option(
        "skip",
        "what is done with a label that is no whole token: 'skip', or read by its 'first piece'",
        among=("skip", "first piece"),
        paper="first piece",
        quirk="All parts of table 1 have a score, and its aliases are not published; many of its words are no token of "
        "LLaMA's vocabulary (muzzle, beak), so some piece must stand for them. By default such a label is left out, "
        "and said.",
    )
    capitals: bool = option(
        True, "whether 'Leg' stands for 'leg' beside ' leg', ' legs' and so on; the paper prints no capital"
    )


@dataclass(frozen=True)
class KnockoutOptions(PartOptions):
    """What can be chosen where a part is cut off from the rest of the picture."""

    prompt: str = option("USER: <image>", "the prompt, as it stands: no template is put around it")
    pad_to_square: bool = option(False, "whether pictures are padded to a square first, as LLaVA's own code does")
    keeps_class_token: bool = option(
        False,
        "whether the part and the class token still see each other in the vision tower under a knockout",
        paper=True,
        quirk="Attention is blocked between patches alone, so that context can pass from the other patches through the "
        "class token to the part. By default the part loses the class token too.",
    )
    keeps_text: bool = option(
        True, "whether the part still sees the words before the picture (BOS, USER:) in the decoder under a knockout"
    )
