"""Loading: a saved folder gives the model that was saved, a broken one a clear error, and no weight is held twice."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_models import IMAGE, llama, saved_llava, tiny_inputs, tiny_llava
from vlm_lens import HookedTransformer, HookedVLM
from vlm_lens.errors import CheckpointError, UnsupportedModelError


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint, read by all tests and changed by none."""
    return saved_llava(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def saved_in_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_llava(tmp_path_factory.mktemp("shards"), max_shard_size="100KB")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint to damage."""
    return Path(shutil.copytree(saved, tmp_path / "checkpoint"))


@pytest.fixture
def shards(saved_in_shards: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint in shards to damage."""
    return Path(shutil.copytree(saved_in_shards, tmp_path / "shards"))


@pytest.fixture
def no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any use of the network, even a look-up of a name, fails."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("loading a folder touched the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def inputs() -> dict[str, Tensor]:
    return tiny_inputs(tiny_llava(), [(4, IMAGE, 5), (2, IMAGE, 1)])


def logits_of(vlm: HookedVLM) -> Tensor:
    with torch.no_grad():
        return vlm(inputs())


def expected_logits() -> Tensor:
    return logits_of(HookedVLM.from_hf(tiny_llava()))


def refusal(folder: Path | str, **options: Any) -> str:
    """The message with which loading is refused; nothing may be added to the folder."""
    before = sorted(Path(folder).rglob("*")) if Path(folder).is_dir() else None
    with pytest.raises(CheckpointError) as refused:
        HookedVLM.from_pretrained(folder, **options)
    after = sorted(Path(folder).rglob("*")) if Path(folder).is_dir() else None
    assert before == after
    return str(refused.value)


def test_a_saved_folder_gives_the_logits_of_the_model_that_was_saved(saved: Path, no_socket: None) -> None:
    assert torch.equal(logits_of(HookedVLM.from_pretrained(saved)), expected_logits())


def test_a_folder_may_be_given_as_text_and_with_a_tilde(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    for name in (str(folder), f"~/{folder.name}"):
        assert torch.equal(logits_of(HookedVLM.from_pretrained(name)), expected_logits())


def test_a_checkpoint_in_shards_loads(shards: Path, no_socket: None) -> None:
    assert len(list(shards.glob("model-*.safetensors"))) > 2
    assert torch.equal(logits_of(HookedVLM.from_pretrained(shards)), expected_logits())


def test_the_processor_comes_along(saved: Path, no_socket: None) -> None:
    vlm = HookedVLM.from_pretrained(saved)
    assert type(vlm.processor).__name__ == "LlavaProcessor"
    assert vlm.tokenizer is vlm.processor.tokenizer
    assert vlm.to_string(vlm.to_tokens("the quick brown fox", prepend_bos=False)) == ["the quick brown fox"]


def test_a_folder_without_a_processor_loads_and_has_none(folder: Path, no_socket: None) -> None:
    for file in (*folder.glob("*processor*"), *folder.glob("token*"), *folder.glob("chat_template*")):
        file.unlink()
    vlm = HookedVLM.from_pretrained(folder)
    assert vlm.processor is None
    assert torch.equal(logits_of(vlm), expected_logits())


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16"])
def test_weights_come_in_the_dtype_that_is_asked_for(saved: Path, dtype: Any) -> None:
    vlm = HookedVLM.from_pretrained(saved, dtype=dtype)
    assert {parameter.dtype for parameter in vlm.parameters()} == {torch.bfloat16}
    assert vlm.cfg.dtype == torch.bfloat16


def test_without_a_dtype_that_of_the_checkpoint_is_kept(tmp_path: Path, saved: Path) -> None:
    half = HookedVLM.from_pretrained(saved, dtype="float16")
    assert HookedVLM.from_pretrained(saved).cfg.dtype == torch.float32
    model = type(tiny_llava()).from_pretrained(saved, dtype=torch.float16)
    model.save_pretrained(tmp_path)
    assert HookedVLM.from_pretrained(tmp_path).cfg.dtype == half.cfg.dtype == torch.float16


def test_a_loaded_model_evaluates(saved: Path) -> None:
    assert not any(module.training for module in HookedVLM.from_pretrained(saved).modules())


# What is missing or damaged.


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    assert "does not exist" in refusal(missing) and not missing.exists()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "expected a file config.json, got none" in refusal(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"model_type": "lla', "[]"])
def test_a_config_that_is_not_a_json_object_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "config.json" in refusal(folder)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.999])
def test_truncated_weights_are_refused(folder: Path, share: float) -> None:
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    message = refusal(folder)
    assert "model.safetensors" in message and str(int(share * len(whole))) in message


def test_weights_with_a_damaged_header_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    whole = bytearray(file.read_bytes())
    whole[8:40] = b"\xff" * 32
    file.write_bytes(whole)
    assert "model.safetensors" in refusal(folder)


@pytest.mark.parametrize("ending", [".incomplete", ".part"])
def test_a_half_written_download_is_refused_by_name(folder: Path, ending: str) -> None:
    file = folder / "model.safetensors"
    file.rename(folder / (file.name + ending))
    assert f"an unfinished download (model.safetensors{ending})" in refusal(folder)


def test_a_missing_shard_is_refused_by_name(shards: Path) -> None:
    shard = sorted(shards.glob("model-*.safetensors"))[1]
    shard.unlink()
    assert f"a file {shard.name}" in refusal(shards)


def test_a_truncated_shard_is_refused_by_name(shards: Path) -> None:
    shard = sorted(shards.glob("model-*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-10])
    assert shard.name in refusal(shards)


def test_a_damaged_index_of_shards_is_refused(shards: Path) -> None:
    for text in ('{"weight_map": ', "{}"):
        (shards / "model.safetensors.index.json").write_text(text)
        assert "model.safetensors.index.json" in refusal(shards)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    """Unpickling can run code: the file here would, and must not."""
    ran = folder / "code ran"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(f"cposix\nsystem\n(S'touch \"{ran}\"'\ntR.".encode())
    assert "pickled weights" in refusal(folder)
    assert not ran.exists()


def test_weights_that_lack_a_parameter_are_refused(folder: Path) -> None:
    """Such a model would be filled with random numbers."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in sorted(weights) if name.endswith("q_proj.weight"))
    del weights[name]
    save_file(weights, file, metadata={"format": "pt"})
    assert "q_proj.weight" in refusal(folder)


@pytest.mark.parametrize("dtype", ["float99", "nn"])
def test_an_unknown_dtype_is_refused(saved: Path, dtype: Any) -> None:
    assert "dtype is unknown" in refusal(saved, dtype=dtype)


@pytest.mark.parametrize("name", ["processor_config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_processor_or_tokenizer_is_refused_by_name(folder: Path, name: str, share: float) -> None:
    file = folder / name
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    assert f"expected {name} to hold JSON" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [("tokenizer.json", "no added_tokens and no model"), ("processor_config.json", "preprocessor_config.json")],
)
def test_a_processor_or_tokenizer_that_says_nothing_is_refused_by_name(folder: Path, name: str, said: str) -> None:
    (folder / name).write_text("{}")
    message = refusal(folder)
    assert name in message and said in message


def test_a_processor_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert "expected a tokenizer file tokenizer.json" in refusal(folder)
    (folder / "tokenizer.model").touch()
    assert "expected tokenizer.model to hold a tokenizer, got 0 bytes" in refusal(folder)


def test_a_processor_in_files_of_its_own_loads(folder: Path, no_socket: None) -> None:
    """As transformers 4 wrote it."""
    settings = json.loads((folder / "processor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings.pop("image_processor")))
    (folder / "processor_config.json").write_text(json.dumps(settings))
    assert type(HookedVLM.from_pretrained(folder).processor).__name__ == "LlavaProcessor"


@pytest.mark.parametrize("name", ["nobody/nothing", "nobody/no thing"])
def test_a_name_that_the_hub_does_not_give_is_refused_with_the_reason(name: str) -> None:
    message = refusal(name)
    assert f"Checkpoint '{name}' is not found: expected a folder of that name, or a model of the hub" in message
    assert "\n" not in message


@pytest.mark.parametrize("device", ["banana", "cuda:99", "cuda:x", ""])
def test_a_device_that_is_not_there_is_refused_before_anything_is_read(tmp_path: Path, device: str) -> None:
    message = refusal(tmp_path / "nowhere", device=device)
    assert "Device is not available" in message and f"got '{device}'" in message


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu")])
def test_a_device_that_is_there_is_taken(saved: Path, device: str | torch.device) -> None:
    assert torch.equal(logits_of(HookedVLM.from_pretrained(saved, device=device)), expected_logits())


def test_loading_draws_no_bar_and_leaves_the_bars_as_they_were(
    saved: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    drawn: list[str] = []

    def hook(factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        drawn.append(kwargs.get("desc", ""))
        return factory(*args, **kwargs)

    logging.set_tqdm_hook(hook)
    try:
        capfd.readouterr()
        HookedVLM.from_pretrained(saved)
        with pytest.raises(TypeError):
            HookedVLM.from_pretrained(folder, an_option_that_is_not=1)
        assert drawn == [] and capfd.readouterr().err == ""
        type(tiny_llava()).from_pretrained(saved)
        assert "Loading weights" in drawn
    finally:
        assert logging.set_tqdm_hook(None) is hook


# What is whole, and of another family.


def test_a_folder_of_another_family_is_refused_with_the_supported_ones(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "qwen2_vl"}))
    with pytest.raises(UnsupportedModelError, match="llava.* got qwen2_vl"):
        HookedVLM.from_pretrained(folder)


def test_a_llava_with_another_decoder_is_refused_with_the_supported_ones() -> None:
    from transformers import GemmaConfig, LlavaConfig, LlavaForConditionalGeneration

    from tests.tiny_models import clip_vision

    config = LlavaConfig(vision_config=clip_vision(), text_config=GemmaConfig(**_sizes_of_llama()))
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    with pytest.raises(UnsupportedModelError, match="llama, mistral, qwen2, got gemma"):
        HookedVLM.from_hf(model)


def _sizes_of_llama() -> dict[str, Any]:
    sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return {name: getattr(llama(), name) for name in (*sizes, "num_key_value_heads")}


def test_a_refusal_of_a_family_says_where_adding_one_is_described() -> None:
    with pytest.raises(UnsupportedModelError, match=r"CONTRIBUTING.md says how to add a family"):
        HookedVLM.from_hf(torch.nn.Linear(1, 1))
    text = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "To add a model family" in text


def test_a_joined_model_is_no_single_tower() -> None:
    with pytest.raises(UnsupportedModelError, match="LlamaForCausalLM.* got LlavaForConditionalGeneration"):
        HookedTransformer.from_hf(tiny_llava())


# Memory.


def storages(module: torch.nn.Module) -> dict[int, int]:
    """The bytes of every storage that parameters and buffers lie in."""
    tensors = [*module.parameters(), *module.buffers()]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}


def test_hooking_a_model_holds_no_storage_that_the_checkpoint_has_not() -> None:
    model = tiny_llava()
    ours, theirs = storages(HookedVLM.from_hf(model)), storages(model)
    assert set(ours) <= set(theirs)
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    assert weights == {parameter.data_ptr() for parameter in HookedVLM.from_hf(model).parameters()}


def test_weights_in_transformer_lens_form_are_views_of_the_checkpoint() -> None:
    model = tiny_llava()
    vlm, known = HookedVLM.from_hf(model), set(storages(model))
    block = vlm.blocks[0]
    views = [block.attn.W_Q, block.attn._W_K, block.attn._W_V, block.attn.W_O, vlm.W_E, vlm.W_U]
    views += [block.mlp.W_in, block.mlp.W_gate, block.mlp.W_out, vlm.vision.blocks[1].attn.W_K]
    assert all(view.untyped_storage().data_ptr() in known for view in views)


def test_running_with_hooks_leaves_no_storage_behind() -> None:
    vlm = HookedVLM.from_hf(tiny_llava())
    before = storages(vlm)
    with torch.no_grad():
        vlm.run_with_cache(inputs(), names_filter=lambda name: True)
    assert storages(vlm) == before


def test_a_loaded_checkpoint_takes_the_bytes_of_its_weights_and_at_most_a_tenth_more(saved: Path) -> None:
    weights = sum(parameter.numel() * parameter.element_size() for parameter in tiny_llava().parameters())
    held = sum(storages(HookedVLM.from_pretrained(saved)).values())
    assert weights <= held <= 1.1 * weights
