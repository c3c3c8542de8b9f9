"""What can be chosen about the correspondence of patches and words."""

from dataclasses import dataclass

from vlm_lens.experiments.object_patches import ObjectPatchesOptions
from vlm_lens.experiments.options import option


@dataclass(frozen=True)
class CorrespondenceOptions(ObjectPatchesOptions):
    """What can be chosen."""

    least_area: float = option(20_000.0, "pixels of the object, more than this, in a picture of 640 x 480")
    most_area: float = option(30_000.0, "pixels of the object, fewer than this, in a picture of 640 x 480")
    scales_area: bool = option(
        True,
        "whether these bounds are scaled to the picture's own size",
        paper=False,
        quirk="The bounds are pixels whatever the picture's size, so that an object may be a twentieth of one picture "
        "and a third of another. By default they are shares of the picture: 6.5% to 9.8%.",
    )
    is_alone: bool = option(
        True, "whether the object must be the only one of its class in the picture; the paper does not say"
    )
    match: str = option(
        "aliases",
        "which token names the object: one of its 'aliases', or its 'first piece' as the tokenizer writes it",
        among=("aliases", "first piece"),
        paper="first piece",
        quirk="The top token must be the first piece of the class name. It misses the plural, capitals and the form "
        "without a space, and for a name that is split it may be any word's beginning. By default each form of the "
        "name that is one token counts; a name that has none is read by its first piece, which is said.",
    )
    norms_last_twice: bool = option(
        False,
        "whether the last state goes through the final norm twice",
        paper=True,
        quirk="The last hidden state that the library returns is normed already, and is normed again. By default each "
        "state is normed once, so that the last is the model's own prediction.",
    )
    counts_unnamed: bool = option(
        False,
        "whether pictures in which no patch names the object in any layer count as best at the first state, where the "
        "average best layer is worked out; the share has them in any case",
    )
    n_draws: int = option(20, "how often other patches are drawn, as many as the object has", least=1)
