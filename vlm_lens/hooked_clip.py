"""CLIP as a user holds it: pictures and texts as vectors of one space, both towers hooked."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vlm_lens.attachments import Runs
from vlm_lens.demo import clip_folder
from vlm_lens.errors import InputError
from vlm_lens.inputs import ClipInputs, open_image
from vlm_lens.inputs.pictures import process_pictures
from vlm_lens.layout import PatchGrid
from vlm_lens.model.candidates import Candidates
from vlm_lens.model.hook_point import silent
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

    def prepare(self, images: Any, texts: str | Sequence[str] | None = None) -> ClipInputs:
        """Pictures, and perhaps texts, as this model takes them, with regions from pixel masks.

        Without texts the model gives each picture's vector, for probes that have texts of their own.

        Args:
            images: a picture or several: PIL images, paths or arrays.
            texts: what the pictures are compared with.

        Raises:
            InputError: a picture that cannot be opened, an empty list of texts, a text longer than the text tower
                reads, a model without a processor.
        """
        image_processor = getattr(self.processor, "image_processor", None)
        if image_processor is None:
            raise _no_processor("Pictures")
        pictures = [open_image(image) for image in (images if isinstance(images, list | tuple) else [images])]
        if not pictures:
            raise InputError("Pictures cannot be prepared", "at least one", "none")
        processed = process_pictures(image_processor, pictures, self.grid_for)
        if texts is None:
            return ClipInputs.of(processed, pictures).to(self.logit_scale.device)
        texts = _several(texts)
        if not texts:
            rule, advice = "at least one text", "Leave texts out for the pictures' vectors."
            raise InputError("Pictures cannot be compared", rule, "none", advice)
        return ClipInputs.of(processed, pictures, self._tokens_of(texts), texts).to(self.logit_scale.device)

    def grid_for(self, size: tuple[int, int]) -> PatchGrid:
        """The patch grid of a picture of this height and width in model pixels."""
        assert self.vision.cfg.patch_size is not None
        return PatchGrid.over(*size, self.vision.cfg.patch_size)

    def forward(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "image text"] | Float[Tensor, "image d_embed"]:
        """The similarity of every picture to every text; each picture's vector where `prepare` was given no texts."""
        if isinstance(inputs, ClipInputs) and inputs.input_ids is None:
            return self.encode_image(inputs.pixel_values)
        return super().forward(inputs)

    @torch.no_grad()
    def candidates(
        self, texts: str | Sequence[str], names: str | Sequence[str] | None = None, batch_size: int = 256
    ) -> Candidates:
        """Texts as vectors, made once to be compared with often; hooks on the text tower are not called.

        Args:
            texts: a whole sentence, such as "A photo of a cat.", or several.
            names: what each is called in results; the text itself where None.
            batch_size: how many texts at a time.

        Raises:
            InputError: no text, one that is longer than the text tower reads, names that do not fit, a model without a
                tokenizer.
        """
        texts = _several(texts)
        if not texts:
            raise InputError("Candidates", "at least one text", "none")
        points = [point for name, point in self.hook_dict.items() if name.startswith(("text.", "hook_text"))]
        vectors = []
        with silent(points):
            for start in range(0, len(texts), batch_size):
                tokens = self._tokens_of(texts[start : start + batch_size])
                vectors.append(self.encode_text(tokens["input_ids"], tokens["attention_mask"]))
        return Candidates(tuple(texts if names is None else _several(names)), torch.cat(vectors))

    def zero_shot(
        self, images: Any, labels: str | Sequence[str], template: str = "a photo of a {}."
    ) -> Float[Tensor, "image label"]:
        """The probability of each label for each picture.

        Args:
            images: a picture or several: PIL images, paths or arrays.
            labels: what to choose from.
            template: the sentence that holds a label.

        Raises:
            InputError: for a model without a processor.
        """
        return self(self.prepare(images, [template.format(label) for label in _several(labels)])).softmax(dim=-1)

    def _tokens_of(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Token ids and which of them are no padding."""
        tokenizer = getattr(self.processor, "tokenizer", None)
        if tokenizer is None:
            raise _no_processor("Texts")
        tokens = tokenizer(list(texts), padding=True, return_tensors="pt")
        lengths, n_ctx = tokens["attention_mask"].sum(dim=1), self.text.cfg.n_ctx
        if tokens["input_ids"].shape[1] > n_ctx:
            longest = int(lengths.argmax())
            got = f"{int(lengths[longest])} for {texts[longest][:40]!r}"
            raise InputError("Text is longer than the text tower reads", f"at most {n_ctx} tokens", got)
        return {name: tokens[name].to(self.logit_scale.device) for name in ("input_ids", "attention_mask")}

    def __repr__(self) -> str:
        vision, text = self.vision.cfg, self.text.cfg
        return (
            f"HookedCLIP({vision.n_layers} vision layers of {vision.n_heads} heads, {text.n_layers} text layers of "
            f"{text.n_heads} heads, {len(self.hook_dict)} hooks, {vision.dtype} on {vision.device})"
        )


def _several(texts: str | Sequence[str]) -> list[str]:
    """One text is a list of one, not its letters."""
    return [texts] if isinstance(texts, str) else list(texts)


def _no_processor(what: str) -> InputError:
    return InputError(f"{what} cannot be prepared", "a processor", "a model without one", "Give one to from_hf.")
