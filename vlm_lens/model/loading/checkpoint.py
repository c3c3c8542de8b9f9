"""From a folder or a hub name to a `transformers` model in memory, or a clear error."""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoProcessor, PretrainedConfig
from transformers.utils import logging

from vlm_lens.errors import CheckpointError, UnsupportedModelError

_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
# What holds a tokenizer's vocabulary, any one of these sets of files.
_TOKENIZER_FILES = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
# Read beside a processor and a tokenizer where they are there.
_JSON_FILES = (
    *_PROCESSOR_FILES, "tokenizer_config.json", "tokenizer.json", "vocab.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.json",
)  # fmt: skip
_SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")
Classes = Mapping[str, Any]
"""The class of `transformers` for each `model_type` that may be loaded."""


def load(
    path_or_name: str | Path,
    classes: Classes,
    check: Callable[[Any], None] = lambda config: None,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    **options: Any,
) -> tuple[Any, Any]:
    """A checkpoint's model, in evaluation mode, and its processor.

    A folder is read without touching the network (one without a processor gives None for it); a hub name is
    downloaded by `transformers`. Only safetensors are read and no code that comes with a checkpoint is run.

    Args:
        path_or_name: a folder written by `save_pretrained`, or `"owner/name"` on the hub.
        classes: which kinds of checkpoint are welcome.
        check: raises for a config that is not, before any weight is read.
        device: where to put the weights, straight from disk; "auto" spreads them (needs accelerate).
        dtype: of the weights; None keeps the checkpoint's.
        revision: branch, tag or commit on the hub.
        options: passed on to `transformers`' `from_pretrained` (`quantization_config`, `cache_dir`, `token` ...).

    Raises:
        CheckpointError: a folder that is missing, incomplete or damaged; a hub name that cannot be reached; a device
            or dtype that is unknown or not there.
        UnsupportedModelError: a family without an adapter.
    """
    _check_device(device)
    folder = Path(path_or_name).expanduser()
    is_local = folder.is_dir()
    if is_local:
        check_folder(folder)
    elif _looks_like_path(str(path_or_name)):
        advice = "Give a folder written by save_pretrained, or a hub name like 'llava-hf/llava-1.5-7b-hf'."
        raise CheckpointError("Checkpoint does not exist", "an existing folder", str(path_or_name), advice)
    source = str(folder) if is_local else str(path_or_name)
    asked = {"revision": revision, "local_files_only": is_local, "trust_remote_code": False}
    shared: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    hub = shared | {name: options[name] for name in ("cache_dir", "token", "local_files_only") if name in options}
    named = _look_up(source, hub)
    if (kind := str(named.get("model_type"))) not in classes:
        rule = f"a checkpoint of type {', '.join(classes)}"
        advice = "HookedTransformer.from_hf takes single decoders and towers. See the model table in README.md."
        raise UnsupportedModelError("Model family has no adapter", rule, kind, advice)
    check(AutoConfig.from_pretrained(source, **hub))
    given: dict[str, Any] = {"attn_implementation": "sdpa", **shared, **options, "output_loading_info": True}
    with _no_loading_bar():
        model, report = classes[kind].from_pretrained(
            source,
            dtype="auto" if dtype is None else _dtype(dtype),
            device_map=device if device is None else str(device),
            use_safetensors=True,
            **given,
        )
    missing = sorted(report["missing_keys"])
    if missing:  # transformers fills them with random numbers
        got = f"none for {len(missing)}, {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
        raise _damaged(folder if is_local else source, "weights for every parameter", got)
    has_processor = not is_local or _has_processor(folder)
    processor = AutoProcessor.from_pretrained(source, **hub) if has_processor else None
    return model.eval(), processor


def _look_up(source: str, hub: Mapping[str, Any]) -> dict[str, Any]:
    """The config as it is written in the folder or on the hub."""
    try:
        return PretrainedConfig.get_config_dict(source, **hub)[0]
    except OSError as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        rule = "a folder of that name, or a model of the hub that can be reached"
        advice = "Check the name and the connection, or give a folder written by save_pretrained."
        raise CheckpointError(f"Checkpoint {source!r} is not found", rule, reason, advice) from error


@contextmanager
def _no_loading_bar() -> Iterator[None]:
    """Silences transformers' bars over weights that are already on disk; those of downloads stay."""
    before = logging.set_tqdm_hook(lambda factory, args, kwargs: logging.EmptyTqdm(*args, **kwargs))
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)


def _check_device(device: str | torch.device | None) -> None:
    """Raise for a device that torch does not know or this machine does not have."""
    if device is None or device in _SPREAD:
        return
    present = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    n_present = torch.accelerator.device_count()
    names = ["cpu", *([] if present is None else [f"{present.type}:{index}" for index in range(n_present)])]
    try:
        asked = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise _no_device(names, device) from error
    is_present = present is not None and asked.type == present.type and (asked.index or 0) < n_present
    if not (is_present or asked.type in ("cpu", "meta")):
        raise _no_device(names, device)


def _no_device(names: list[str], device: object) -> CheckpointError:
    rule = f"a device that this machine has and this build of torch can use ({', '.join(names)}) or 'auto'"
    return CheckpointError("Device is not available", rule, repr(str(device)), "Without a device it is the CPU.")


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype):
        raise CheckpointError("dtype is unknown", "a torch dtype or its name, like 'bfloat16'", repr(dtype))
    return found


def _looks_like_path(name: str) -> bool:
    """Hub names have one slash at most and start with neither dot nor slash."""
    return name.startswith((".", "/", "~")) or name.count("/") != 1 or "\\" in name


def check_folder(folder: Path) -> None:
    """Raise if a checkpoint folder is incomplete: told from the headers, without reading the weights.

    Raises:
        CheckpointError: naming the file that is missing or damaged.
    """
    _read_json(folder, folder / "config.json")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = _read_json(folder, index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise _damaged(folder, f"{index.name} to name the file of each weight", "no weight_map")
        shards = sorted(set(weight_map.values()))
    else:
        shards = ["model.safetensors"]
    for shard in shards:
        _check_safetensors(folder, folder / shard)
    _check_processor(folder)


def _has_processor(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _PROCESSOR_FILES)


def _check_processor(folder: Path) -> None:
    """Raise if a file of the processor or the tokenizer is damaged, or one has come without the others."""
    values = {name: _read_json(folder, folder / name) for name in _JSON_FILES if (folder / name).is_file()}
    absent = [key for key in ("added_tokens", "model") if key not in values.get("tokenizer.json", {key: None})]
    if absent:
        raise _damaged(folder, "tokenizer.json to hold a tokenizer", f"no {' and no '.join(absent)}")
    for name in ("tokenizer.model", "merges.txt"):
        if (folder / name).is_file() and (folder / name).stat().st_size == 0:
            raise _damaged(folder, f"{name} to hold a tokenizer", "0 bytes")
    if not _has_processor(folder):
        return
    if "preprocessor_config.json" not in values and "image_processor" not in values["processor_config.json"]:
        rule = "a file preprocessor_config.json, or an image_processor in processor_config.json"
        raise _damaged(folder, rule, "neither")
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZER_FILES):
        rule = f"a tokenizer file {', '.join(' with '.join(names) for names in _TOKENIZER_FILES)}"
        raise _damaged(folder, rule, "none")


def _read_json(folder: Path, file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise _damaged(folder, f"a file {file.name}", "none")
    return _json_object(folder, file, file.read_bytes())


def _json_object(folder: Path, file: Path, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:  # UnicodeDecodeError is one
        raise _damaged(folder, f"{file.name} to hold JSON", str(error)) from error
    if not isinstance(value, dict):
        raise _damaged(folder, f"{file.name} to hold a JSON object", type(value).__name__)
    return value


def _check_safetensors(folder: Path, file: Path) -> None:
    if not file.is_file():
        partial = [one.name for one in folder.glob(f"{file.name}*")]
        got = f"an unfinished download ({', '.join(partial)})" if partial else "none"
        if (folder / "pytorch_model.bin").is_file():
            got = "pytorch_model.bin (pickled weights, which can run code, are not read)"
        raise _damaged(folder, f"a file {file.name}", got)
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        n_header = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if 8 + n_header > size:
            raise _damaged(folder, f"{file.name} to hold its header", f"a file of {size} bytes")
        header = _json_object(folder, file, stream.read(n_header))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = 8 + n_header + max(ends, default=0)
    if size < expected:
        raise _damaged(folder, f"{file.name} of {expected} bytes", f"{size} bytes")


def _damaged(folder: Path | str, expected: str, got: object) -> CheckpointError:
    return CheckpointError(f"Checkpoint in {folder} is incomplete", expected, got, "Download or save it again.")
