"""A mean on disk: safetensors, with the manifest and a hash of the contents as metadata."""

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vlm_lens.attachments.naming.fingerprint import fingerprint_of
from vlm_lens.errors import CheckpointError
from vlm_lens.estimates.manifest import Manifest
from vlm_lens.estimates.moments import Moments

_PARTS = ("n", "mean", "squares")


def write_moments(path: Path, moments: Mapping[str, Moments], manifest: Manifest) -> Path:
    """Write the file beside its place and move it there, so that an interrupt leaves the old one."""
    tensors = {
        f"{hook}/{part}": getattr(one, part).cpu().contiguous() for hook, one in moments.items() for part in _PARTS
    }
    text = manifest.to_json()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, beside, metadata={"manifest": text, "content": fingerprint_of([tensors, text])})
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def read_moments(path: Path) -> tuple[dict[str, Moments], Manifest]:
    """What `write_moments` wrote.

    Raises:
        CheckpointError: no such file, or one that is damaged or no mean.
    """
    if not path.is_file():
        raise CheckpointError("Mean cannot be loaded", "a file", f"no file at {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except SafetensorError as error:
        advice = "Copy or estimate it again."
        raise CheckpointError(
            "Mean cannot be loaded", "a safetensors file", f"{path.name!r}: {error}", advice
        ) from None
    if not {"manifest", "content"} <= metadata.keys():
        raise CheckpointError("Mean cannot be loaded", "a file that Mean.save wrote", repr(path.name))
    if fingerprint_of([tensors, metadata["manifest"]]) != metadata["content"]:
        got = f"{path.name!r} with other contents"
        raise CheckpointError("Mean is damaged", f"contents with hash {metadata['content']}", got, "Estimate it again.")
    manifest = Manifest.from_json(metadata["manifest"])
    return {hook: Moments(*(tensors[f"{hook}/{part}"] for part in _PARTS)) for hook in manifest.hooks}, manifest
