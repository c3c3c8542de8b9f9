"""Activation patching: what another run had at some positions, written into this one."""

from dataclasses import dataclass

from vlm_lens.attachments import PatchWriter


@dataclass(frozen=True, eq=False)
class ActivationPatch(PatchWriter):
    """Writes another run's activations at some positions. From a clean run it denoises, from a corrupted one it noises.

    Positions are named on both sides, so the sequences may differ in length. Each row needs as many positions in the
    source as here; they are matched in ascending order. Where `source_positions` is left out, the same selector is
    meant there: a name is looked up in the source's own layout, a region is the same patches of the source's picture,
    a number is the same column. One row of a source serves every row.

    At hooks of the vision tower and the projector rows are pictures. Scores and pattern are selected by query, and
    need the same keys on both sides. Under generation, positions in the prompt are written while it is read.

    Attributes:
        source: `vlm.run(..., names_filter=...)`, a generation with a cache, an `ActivationCache`, or a mapping from
            hook names to tensors `[batch pos ...]`.
        hook: a name, several, or a pattern like `"blocks.*.attn.hook_z"`.
        positions: of this run.
        heads: at hooks that tell heads apart (key heads at `hook_k`, `hook_v`); None for all.
        layers: which of a pattern's layers.
        source_positions: of the source; None for the same selector.
        source_row: the source's row that every row is given; None for its only one, or row by row.
        source_layout: what a cache's positions are; left out, they are taken to be this run's. A run knows by itself.

    Raises:
        ActivationError: before the model runs, for activations that the source did not keep.
        PositionError: before the model runs, for rows or positions that do not go together, with both counts.
        HookError: before the model runs, for activations of another shape, or that are not finite.

    Source: Vig et al., "Investigating Gender Bias in Language Models Using Causal Mediation Analysis", 2020; Meng et
    al., "Locating and Editing Factual Associations in GPT", 2022.

    Example:
        >>> from vlm_lens import ActivationPatch, HookedVLM
        >>> from vlm_lens.demo.examples import example_scenes
        >>> vlm, (cat, sheep, *_) = HookedVLM.demo(), example_scenes()
        >>> hook = "blocks.2.hook_resid_pre"
        >>> clean = vlm.run(vlm.prepare(cat.scene.image, "Is there a cat in this image?"), names_filter=hook)
        >>> corrupted = vlm.prepare(sheep.scene.image, "Is there a cat?")
        >>> patched = vlm.run(corrupted, ActivationPatch(clean, hook, "image"))
    """
