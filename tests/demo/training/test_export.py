"""The exported folders are checkpoints like any other."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, CLIPModel, LlavaForConditionalGeneration

from vlm_lens.demo.architecture import N_PATCHES, new_clip, new_llava
from vlm_lens.demo.scenes import draw_scene
from vlm_lens.demo.training.export import export
from vlm_lens.demo.training.packed_attention import PACKED_TURNS, SPREAD
from vlm_lens.demo.training.training_run import demo_tokenizer

TOKENIZER = demo_tokenizer()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    clip, llava = new_clip(TOKENIZER, 0), new_llava(TOKENIZER, 1)
    llava.model.language_model.set_attn_implementation(PACKED_TURNS)
    llava.model.vision_tower.set_attn_implementation(SPREAD)
    export(clip, llava, folder)
    return folder


def test_half_precision_folders_take_less_than_twelve_megabytes(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12_000_000
    assert not [path for path in folder.iterdir() if "unfinished" in path.name]


def test_the_vlm_folder_loads_as_llava_and_expands_the_image(folder: Path) -> None:
    llava = LlavaForConditionalGeneration.from_pretrained(folder / "vlm", dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(folder / "vlm")
    trained = new_llava(TOKENIZER, 1).half().float()
    for name, value in trained.state_dict().items():
        assert torch.equal(llava.state_dict()[name], value), name
    inputs = processor(
        images=Image.fromarray(draw_scene(0).image),
        text="USER: <image>\nIs there a cat in this image? ASSISTANT:",
        return_tensors="pt",
    )
    assert int((inputs["input_ids"] == llava.config.image_token_id).sum()) == N_PATCHES
    with torch.no_grad():
        assert llava(**inputs).logits.shape == (*inputs["input_ids"].shape, len(TOKENIZER))


def test_the_chat_template_is_the_prompt_of_training(folder: Path) -> None:
    processor = AutoProcessor.from_pretrained(folder / "vlm")
    content = [{"type": "text", "text": "Describe this image."}, {"type": "image"}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    assert prompt == "USER: <image>\nDescribe this image. ASSISTANT:"


def test_the_clip_folder_pools_a_text_at_its_end(folder: Path) -> None:
    clip = CLIPModel.from_pretrained(folder / "clip", dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(folder / "clip")
    texts = ["a photo of a cat.", "a photo of a brown cat on a bed."]
    inputs = processor(text=texts, images=Image.fromarray(draw_scene(0).image), padding=True, return_tensors="pt")
    with torch.no_grad():
        both = clip(**inputs).text_embeds
        alone = clip.get_text_features(**processor(text=texts[:1], return_tensors="pt"))
    alone = torch.nn.functional.normalize(alone.pooler_output[0], dim=-1)
    torch.testing.assert_close(both[0], alone, rtol=0, atol=1e-6)
