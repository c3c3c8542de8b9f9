"""From pictures and prompts to what a model takes, and what each position of it is."""

from vlm_lens.inputs.clip_inputs import ClipInputs
from vlm_lens.inputs.from_mapping import inputs_from_mapping
from vlm_lens.inputs.images import ImageLike, open_image
from vlm_lens.inputs.inputs import Inputs
from vlm_lens.inputs.pieces import piece_strings
from vlm_lens.inputs.prepare import prepare
from vlm_lens.inputs.templates import TEMPLATES

__all__ = [
    "TEMPLATES", "ClipInputs", "ImageLike", "Inputs", "inputs_from_mapping", "open_image", "piece_strings",
    "prepare",
]  # fmt: skip
