"""The finished models as folders that transformers loads: half precision, safetensors."""

import copy
from pathlib import Path

import torch
from transformers import CLIPModel, CLIPProcessor, LlavaForConditionalGeneration, PreTrainedModel

from vlm_lens.demo.architecture import build_processor, clip_config, image_processor, llava_config
from vlm_lens.demo.training.training_run import demo_tokenizer

VLM_FOLDER, CLIP_FOLDER = "vlm", "clip"


def export(clip: CLIPModel, llava: LlavaForConditionalGeneration, folder: Path) -> None:
    """Writes `vlm/` and `clip/`, each put in its place when it is complete.

    Args:
        clip: The contrastive model.
        llava: The vision-language model.
        folder: Where; it is made if missing.
    """
    tokenizer, clip_tokenizer = demo_tokenizer(), demo_tokenizer(appends_end=True)
    vlm, contrastive = folder / f"{VLM_FOLDER}.unfinished", folder / f"{CLIP_FOLDER}.unfinished"
    _fresh(LlavaForConditionalGeneration(llava_config(tokenizer)), llava).save_pretrained(vlm)
    build_processor(tokenizer).save_pretrained(vlm)
    _fresh(CLIPModel(clip_config(tokenizer)), clip).save_pretrained(contrastive)
    CLIPProcessor(image_processor(), clip_tokenizer).save_pretrained(contrastive)
    for unfinished in (vlm, contrastive):
        _put_in_place(unfinished, unfinished.with_suffix(""))


def _fresh(model: PreTrainedModel, trained: PreTrainedModel) -> PreTrainedModel:
    """The trained weights in half precision, in a model that knows nothing of the training's attention."""
    model.load_state_dict(copy.deepcopy(trained.state_dict()))
    return model.to(torch.float16).eval()  # type: ignore[arg-type]


def _put_in_place(unfinished: Path, finished: Path) -> None:
    finished.mkdir(parents=True, exist_ok=True)
    for path in sorted(unfinished.iterdir()):
        path.replace(finished / path.name)
    unfinished.rmdir()
