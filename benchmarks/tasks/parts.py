"""The first paper's part identification: a lens at each region's patches under knockouts in either tower."""

from benchmarks.conditions import Blocked, Condition, positions_of, rectangle
from benchmarks.rivals import Ours
from benchmarks.sizes import Sizes
from benchmarks.tasks.task import Task, lens_of

REGIONS = {
    "head": (0.10, 0.40, 0.20, 0.20),
    "torso": (0.30, 0.33, 0.33, 0.30),
    "leg": (0.63, 0.33, 0.30, 0.10),
    "tail": (0.40, 0.66, 0.10, 0.25),
    "ear": (0.05, 0.45, 0.05, 0.08),
}
"""Top, left, height and width in shares of the picture."""


def part_identification(sizes: Sizes) -> Task:
    """Five regions by four settings. Without knockouts one pass serves all regions, in the naive loop too."""
    regions = {name: rectangle(sizes, *shares) for name, shares in REGIONS.items()}
    every = tuple(sorted({patch for patches in regions.values() for patch in patches}))
    conditions = [Condition("no knockout", (), every)]
    for name, patches in regions.items():
        encoder, decoder = knockouts(sizes, patches)
        settings = {"encoder": (encoder,), "decoder": (decoder,), "full": (encoder, decoder)}
        conditions += [Condition(f"{name}, {setting}", changes, patches) for setting, changes in settings.items()]
    n_read = sum(len(one.patches) for one in conditions)
    # Target rows are closed under the decoder's mask: they need nothing but themselves. Behind the encoder's, every
    # image row up to the region's last one differs.
    rows = sum(2 * len(patches) + max(patches) + 1 for patches in regions.values())
    return Task(
        "part identification",
        f"{len(regions)} regions x 4 settings ({len(conditions)} passes), lens over all states at the region's patches",
        tuple(conditions),
        lens_of,
        Ours.swept_lens,
        extra_rows=(rows,) * sizes.decoder_layers,
        n_unembedded=n_read * (sizes.decoder_layers + 1),
        runs_of_tower=1 + len(regions),
    )


def knockouts(sizes: Sizes, patches: tuple[int, ...]) -> tuple[Blocked, Blocked]:
    """The edges that the two towers lose: between target and other patches, and from target rows to other patches.

    In the vision tower both ways, and the class token stays connected; in the decoder the text stays visible.
    """
    others = tuple(patch for patch in range(sizes.n_patches) if patch not in patches)
    in_tower = (tuple(1 + patch for patch in one) for one in (patches, others))
    encoder = Blocked(*in_tower, tuple(range(sizes.vision_layers)), "vision", is_mutual=True)
    in_decoder = (positions_of(sizes, one) for one in (patches, others))
    return encoder, Blocked(*in_decoder, tuple(range(sizes.decoder_layers)))
