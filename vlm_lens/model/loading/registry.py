"""Which adapter is for which checkpoint: a new family is one file and one line here."""

from pathlib import Path
from typing import Any

from torch import nn

from vlm_lens.errors import UnsupportedModelError
from vlm_lens.model.config import TransformerConfig
from vlm_lens.model.loading import clip, decoders, encoders, llava
from vlm_lens.model.loading.checkpoint import load
from vlm_lens.model.parts import CLIPParts, JoinedParts, TransformerParts

TOWERS = (decoders, encoders)
JOINED = (llava,)


def load_joined(path_or_name: Any, **options: Any) -> tuple[Any, Any]:
    """A vision-language checkpoint's model and processor; see `checkpoint.load`."""
    return load(path_or_name, {one.MODEL_TYPE: one.CLASSES[0] for one in JOINED}, _check_joined, **options)


def load_clip(path_or_name: Any, **options: Any) -> tuple[Any, Any]:
    """A CLIP checkpoint's model and processor; see `checkpoint.load`."""
    return load(path_or_name, {clip.MODEL_TYPE: clip.CLASSES[0]}, **options)


def tower_parts(model: nn.Module) -> tuple[TransformerConfig, TransformerParts]:
    """The config and the modules of a single tower.

    Raises:
        UnsupportedModelError: for a class without an adapter.
    """
    for family in TOWERS:
        if isinstance(model, family.CLASSES):
            config, parts = family.adapted(model)
            _note_origin(config, model)
            return config, parts
    raise _unsupported(model, [one.__name__ for family in TOWERS for one in family.CLASSES])


def joined_parts(model: nn.Module) -> JoinedParts:
    """The configs and the modules of a vision-language model.

    Raises:
        UnsupportedModelError: for a class without an adapter, or towers without one.
    """
    supported = [one.__name__ for family in JOINED for one in family.CLASSES]
    for family in JOINED:
        if not isinstance(model, family.CLASSES):
            continue
        family.check_parts(model.config)
        parts = family.adapted(model)
        _note_origin(parts.decoder_config, model)
        _note_origin(parts.vision_config, model)
        return parts
    raise _unsupported(model, supported)


def clip_parts(model: nn.Module) -> CLIPParts:
    """The configs and the modules of a CLIP model.

    Raises:
        UnsupportedModelError: for another class.
    """
    if not isinstance(model, clip.CLASSES):
        raise _unsupported(model, [one.__name__ for one in clip.CLASSES])
    parts = clip.adapted(model)
    for config, _ in (parts.vision, parts.text):
        _note_origin(config, model)
    return parts


def _check_joined(config: Any) -> None:
    next(family for family in JOINED if config.model_type == family.MODEL_TYPE).check_parts(config)


def _note_origin(config: TransformerConfig, model: Any) -> None:
    parameter = next(model.parameters())
    places = {one.device.type for one in model.parameters()}
    if "meta" in places and len(places) > 1:
        advice = "Name a device with room for all of it, or load it quantised."
        raise UnsupportedModelError("Weights are offloaded", "every weight on a device", "some on none", advice)
    config.device, config.dtype = str(parameter.device), parameter.dtype
    config.end_token_ids = _end_tokens(model)
    config.model_name = _called(getattr(model.config, "_name_or_path", "")) or type(model).__name__


def _called(name_or_path: str) -> str:
    """The model's name on the hub, or its folder's name: where the folder lies is nobody's business."""
    return Path(name_or_path).name if Path(name_or_path).is_dir() else name_or_path


def _end_tokens(model: Any) -> tuple[int, ...]:
    """The tokens that end a text: the generation config's, else the model's own."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = getattr(model.config.get_text_config(), "eos_token_id", None) if ends is None else ends
    return () if ends is None else (ends,) if isinstance(ends, int) else tuple(ends)


def _unsupported(model: Any, supported: list[str]) -> UnsupportedModelError:
    advice = "See the model table in README.md; CONTRIBUTING.md says how to add a family."
    rule = f"one of {', '.join(supported)}"
    return UnsupportedModelError("Model family has no adapter", rule, type(model).__name__, advice)
