"""CLIPSeg, which cuts out what a text names."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, CLIPSegForImageSegmentation, CLIPSegProcessor
from transformers.utils import logging

from vlm_lens.errors import CheckpointError, InputError
from vlm_lens.segmenters.segmenter import NO_MASKS, Masks, Segmenter

_NO_CONTENT = ("transformers_version", "dtype", "image_processor_type")

N_TEXTS = 16
"""Texts decoded at once."""


class CLIPSegSegmenter(Segmenter):
    """CLIPSeg through `transformers`: the picture is encoded once, and each text decodes its own map from it.

    The whole picture is stretched to the model's square and the map is stretched back, so that nothing is cut off.
    Scores are the sigmoid of the map, interpolated bilinearly.

    Args:
        path: a folder written by `save_pretrained`, or a name on the hub such as "CIDAS/clipseg-rd64-refined", which
            `transformers` downloads.
        device: where to run.
        template: what is asked for, with the text in place of {}: "a photo of a {}.".

    Raises:
        CheckpointError: a folder that is missing, damaged, or of another kind of model.
        InputError: a template without {}; an image processor that cuts pictures.

    Source: Lüddecke and Ecker, "Image Segmentation Using Text and Image Prompts", 2022.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu", template: str = "{}") -> None:
        if template.count("{}") != 1:
            raise InputError("Template of a segmenter", "a text with one {} in it", repr(template))
        self.path, self.template, self.device = str(path), template, torch.device(device)
        self._model, self._processor = _loaded(self.path)
        _check_geometry(self._processor.image_processor)
        self._model.to(self.device)
        self._embedded: dict[str, Tensor] = {}
        self._fingerprint = ""

    @torch.no_grad()
    def segment(
        self, image: Image.Image, texts: Sequence[str], known: Masks = NO_MASKS
    ) -> Float[np.ndarray, "text height width"]:
        """The sigmoid of each text's map, at the size of the picture.

        Raises:
            InputError: no text, an empty one, or one that is longer than the model's context.
        """
        if not texts:
            raise InputError("Segmentation", "at least one text", "none")
        pixels = self._processor.image_processor(image.convert("RGB"), return_tensors="pt")["pixel_values"]
        encoded = self._model.clip.get_image_features(
            pixels.to(self.device, self._model.dtype), interpolate_pos_encoding=True, output_hidden_states=True
        )
        states = [encoded.hidden_states[layer + 1] for layer in self._model.extract_layers]
        scores = np.empty((len(texts), image.height, image.width), dtype=np.float32)
        for start in range(0, len(texts), N_TEXTS):
            asked = torch.stack([self._embedding(text) for text in texts[start : start + N_TEXTS]])
            maps = self._model.decoder([state.expand(len(asked), -1, -1) for state in states], asked).logits
            full = functional.interpolate(
                maps[:, None].float(), size=(image.height, image.width), mode="bilinear", align_corners=False
            )
            scores[start : start + N_TEXTS] = full[:, 0].sigmoid().cpu().numpy()
        return scores

    def fingerprint(self) -> str:
        """Of the weights, the configuration of model, tokenizer and image processor, and the template."""
        if not self._fingerprint:
            digest = hashlib.sha256(repr((type(self).__name__, self.template)).encode())
            for part in (self._model.config, self._processor.image_processor):
                digest.update(_contents(part.to_dict()))
            digest.update(repr(sorted(self._processor.tokenizer.get_vocab().items())).encode())
            for name, tensor in sorted(self._model.state_dict().items()):
                digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

    def _embedding(self, text: str) -> Float[Tensor, " d_embed"]:
        """What a text asks for; a label comes again with every picture."""
        if text not in self._embedded:
            if not text.strip():
                raise InputError("Text to segment", "at least one word", repr(text))
            tokens = self._processor.tokenizer(self.template.format(text), return_tensors="pt").to(self.device)
            longest = self._model.config.text_config.max_position_embeddings
            if tokens["input_ids"].shape[1] > longest:
                got = f"{tokens['input_ids'].shape[1]} for {text!r}"
                raise InputError("Text to segment", f"at most {longest} tokens", got, "Name the object alone.")
            found = self._model.clip.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"])
            self._embedded[text] = found.pooler_output[0]
        return self._embedded[text]

    def __repr__(self) -> str:
        return f"CLIPSegSegmenter({self.path!r})"


def _contents(settings: Mapping[str, Any]) -> bytes:
    """Settings without where they lay, what wrote them, and the backend that reads them here."""
    told = {name: value for name, value in settings.items() if not name.startswith("_") and name not in _NO_CONTENT}
    return json.dumps(told, sort_keys=True, default=str).encode()


def _loaded(path: str) -> tuple[Any, Any]:
    """Model and processor; a folder is read without the network, and nothing but safetensors."""
    options: dict[str, Any] = {"local_files_only": Path(path).expanduser().is_dir(), "trust_remote_code": False}
    source = str(Path(path).expanduser()) if options["local_files_only"] else path
    try:
        config = AutoConfig.from_pretrained(source, **options)
        if config.model_type != "clipseg":
            raise CheckpointError("Segmenter", "a checkpoint of CLIPSeg", f"{config.model_type} in {path}")
        with _no_loading_bar():
            loaded: Any = CLIPSegForImageSegmentation.from_pretrained(
                source, use_safetensors=True, output_loading_info=True, **options
            )
        processor = CLIPSegProcessor.from_pretrained(source, **options)
    except (OSError, ValueError, SafetensorError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = str(error).strip().splitlines()[0].rstrip(".")
        advice = "Give a folder written by save_pretrained, with the processor's files in it."
        raise CheckpointError(f"Segmenter {path!r}", "a checkpoint of CLIPSeg", reason, advice) from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        got = f"none for {len(missing)}, {', '.join(missing[:3])}"
        raise CheckpointError(f"Segmenter {path!r}", "weights for every parameter", got, "Save it again.")
    return model.eval(), processor


def _check_geometry(image_processor: Any) -> None:
    """The map is stretched back over the whole picture, so the whole picture must have been stretched to the square."""
    size = dict(image_processor.size)
    is_cut = getattr(image_processor, "do_center_crop", False) or set(size) != {"height", "width"}
    if is_cut or not getattr(image_processor, "do_resize", False):
        rule = "an image processor that stretches pictures to {height, width} and cuts nothing"
        raise InputError("Segmenter", rule, f"size {size} in a {type(image_processor).__name__}")


@contextmanager
def _no_loading_bar() -> Iterator[None]:
    """Silences transformers' bars over weights that are already on disk; those of downloads stay."""
    before = logging.set_tqdm_hook(lambda factory, args, kwargs: logging.EmptyTqdm(*args, **kwargs))
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)
