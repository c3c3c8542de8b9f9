"""CLIP as a user holds it: pictures and texts as vectors of one space, both towers hooked."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from vlm_lens.attachments import Runs
from vlm_lens.demo import clip_folder
from vlm_lens.errors import InputError
from vlm_lens.inputs import open_image
from vlm_lens.model.loading import clip_parts, load_clip
from vlm_lens.model.two_towers import TwoTowers


class HookedCLIP(Runs, TwoTowers):
    """A CLIP model with every activation of both towers readable and writable.

    The vision tower's hooks stand under `vision.`, the text tower's under `text.`.

    Example:
        >>> from vlm_lens import HookedCLIP
        >>> clip = HookedCLIP.demo()
        >>> clip.vision.cfg.n_layers == len(clip.vision.blocks)
        True
    """

    @classmethod
    def from_hf(cls, model: nn.Module, processor: Any = None) -> "HookedCLIP":
        """Hook a `CLIPModel` that is already in memory.

        Raises:
            UnsupportedModelError: for another class.
        """
        return cls(clip_parts(model), processor)

    @classmethod
    def from_pretrained(cls, path_or_name: Any, **options: Any) -> "HookedCLIP":
        """Load a checkpoint; see `HookedVLM.from_pretrained` for the options."""
        return cls.from_hf(*load_clip(path_or_name, **options))

    @classmethod
    def demo(cls, device: Any = None) -> "HookedCLIP":
        """The CLIP model whose vision tower the bundled vision-language model has."""
        return cls.from_pretrained(clip_folder(), device=device, dtype="float32")

    def zero_shot(
        self, images: Any, labels: Sequence[str], template: str = "a photo of a {}."
    ) -> Float[Tensor, "image label"]:
        """The probability of each label for each picture.

        Args:
            images: a picture or several: PIL images, paths or arrays.
            labels: what to choose from.
            template: the sentence that holds a label.

        Raises:
            InputError: for a model without a processor.
        """
        if self.processor is None:
            raise InputError(
                "Pictures cannot be prepared", "a processor", "a model without one", "Give one to from_hf."
            )
        texts = [template.format(label) for label in labels]
        pictures = [open_image(image) for image in (images if isinstance(images, list | tuple) else [images])]
        inputs = self.processor(images=pictures, text=texts, padding=True, return_tensors="pt")
        device = self.logit_scale.device
        return self({name: value.to(device) for name, value in inputs.items()}).softmax(dim=-1)
