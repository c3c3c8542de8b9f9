"""The experiments by name. A new one is a line here."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

from vlm_lens.errors import InputError
from vlm_lens.experiments.experiment import Experiment

_WHERE = {
    "part-identification": "part_identification:PartIdentification",
    "part-identification-clip": "part_identification_clip:PartIdentificationClip",
    "part-attention": "part_attention:PartAttention",
    "part-segmentation": "part_segmentation:PartSegmentation",
    "part-mentions": "part_mentions:PartMentions",
    "object-ablation": "object_ablation:ObjectAblation",
    "correspondence": "correspondence:Correspondence",
    "attention-blocking": "attention_blocking:AttentionBlocking",
    "information-flow": "information_flow:InformationFlow",
    "attention-shares": "attention_shares:AttentionShares",
    "top-k-context": "top_k_context:TopKContexts",
    "localisation": "localisation:Localisation",
    "reprompting": "reprompting:Reprompting",
}


_added: dict[str, Experiment] = {}


def experiments() -> Mapping[str, Experiment]:
    """Every experiment, by its name, in the order of the papers; then those of `add_experiment`."""
    return MappingProxyType({**_shipped(), **_added})


def add_experiment(experiment: Experiment) -> None:
    """Make an experiment of one's own known in this process, in the place of an earlier one of its name.

    Raises:
        InputError: one that ships has the name.
    """
    if experiment.name in _WHERE:
        raise InputError("Name of an experiment", f"another than {', '.join(_WHERE)}", repr(experiment.name))
    _added[experiment.name] = experiment


@cache
def _shipped() -> Mapping[str, Experiment]:
    found: dict[str, Experiment] = {}
    for name, where in _WHERE.items():
        module, _, noun = where.partition(":")
        found[name] = getattr(import_module(f"vlm_lens.experiments.{module}"), noun)()
    return found


def experiment_named(name: str) -> Experiment:
    """An experiment.

    Raises:
        InputError: there is none of that name, with those that there are.
    """
    if name not in experiments():
        raise InputError("Experiment", f"one of {', '.join(experiments())}", repr(name))
    return experiments()[name]
