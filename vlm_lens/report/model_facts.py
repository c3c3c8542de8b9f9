"""What a report says of its model."""

from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.report.data import ModelFacts


def facts_of(vlm: HookedVLM, name: str) -> ModelFacts:
    """The size and shape of both towers; a weight that two modules share counts once."""
    return ModelFacts(
        name=name,
        n_parameters=sum(parameter.numel() for parameter in vlm.parameters()),
        n_layers=vlm.cfg.n_layers,
        n_heads=vlm.cfg.n_heads,
        d_model=vlm.cfg.d_model,
        n_vision_layers=vlm.vision.cfg.n_layers,
        d_vocab=vlm.cfg.d_vocab,
    )
