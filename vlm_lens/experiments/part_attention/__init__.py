"""Figure 3 of object part identification: where the patches of a part look, with and without the knockout."""

from vlm_lens.experiments.part_attention.experiment import PartAttention

__all__ = ["PartAttention"]
