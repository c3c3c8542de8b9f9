"""Object part identification, appendix C, figure 7: how often texts name parts, alone and with their objects."""

from vlm_lens.experiments.part_mentions.experiment import PartMentions

__all__ = ["PartMentions"]
