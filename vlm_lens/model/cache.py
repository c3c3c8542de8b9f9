"""What a run left behind: TransformerLens's cache for the decoder, and one like it for the vision tower."""

from collections.abc import Iterator
from html import escape
from typing import Any

import torch
from torch import Tensor

from vlm_lens import _tl
from vlm_lens.errors import ActivationError

_OF_PICTURES = ("vision.", "projector.")


class ActivationCache(_tl.ActivationCache):
    """TransformerLens's `ActivationCache` of the decoder, with the pictures' activations in it under their own names.

    `cache["resid_post", 5]`, `accumulated_resid()`, `logit_attrs(...)` and the other methods speak of the decoder.
    `cache["vision.blocks.3.attn.hook_z"]` and `cache["projector.hook_out"]` have pictures as their batch;
    `cache.vision` is a cache of the vision tower by itself, with the same methods.
    """

    model: Any  # transformer_lens declares a class of its own here

    def __init__(self, cache_dict: dict[str, Tensor], model: Any, has_batch_dim: bool = True) -> None:
        decoder = {name: value for name, value in cache_dict.items() if not name.startswith(_OF_PICTURES)}
        super().__init__(decoder, model, has_batch_dim)
        self.pictures = {name: value for name, value in cache_dict.items() if name.startswith(_OF_PICTURES)}

    @property
    def vision(self) -> "ActivationCache":
        """The vision tower's part: `cache.vision["pattern", 3]`, `cache.vision.accumulated_resid()`."""
        prefix = "vision."
        part = {name.removeprefix(prefix): v for name, v in self.pictures.items() if name.startswith(prefix)}
        return ActivationCache(part, self.model.vision)

    def __getitem__(self, key: Any) -> Tensor:
        """An activation by name, or by TransformerLens's shorthand for the decoder: `cache["pattern", 7]`."""
        if isinstance(key, str) and key in self.pictures:
            return self.pictures[key]
        try:
            return super().__getitem__(key)
        except KeyError as error:
            name = str(error.args[0])
        rule = f"one of the {len(self)} names in the cache"
        if name in self.model.hook_dict:
            raise ActivationError(f"{name} was not cached", rule, name, "Add it to names_filter.")
        raise ActivationError(f"{name} is no hook", rule, name, f"Did you mean {self.model.nearest_names(name)}?")

    def apply_slice_to_batch_dim(self, batch_slice: Any) -> "ActivationCache":
        """The same cache with a slice of its batch; the pictures' activations stay as they are."""
        sliced = super().apply_slice_to_batch_dim(batch_slice)
        return ActivationCache({**self.pictures, **sliced.cache_dict}, self.model, sliced.has_batch_dim)

    def _all(self) -> dict[str, Tensor]:
        return {**self.pictures, **self.cache_dict}

    def __contains__(self, key: object) -> bool:
        return key in self.cache_dict or key in self.pictures

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self.cache_dict) + len(self.pictures)

    def keys(self) -> Any:
        """All names, the pictures' first, as they fired."""
        return self._all().keys()

    def values(self) -> Any:
        """All activations, in the order of `keys`."""
        return self._all().values()

    def items(self) -> Any:
        """Names with activations."""
        return self._all().items()

    def to(self, device: str | torch.device) -> "ActivationCache":
        """Move everything to a device."""
        super().to(device)
        self.pictures = {name: value.to(device) for name, value in self.pictures.items()}
        return self

    def fingerprint_parts(self) -> dict[str, Tensor]:
        """What an intervention that was given this cache is told from others by."""
        return self._all()

    @property
    def n_bytes(self) -> int:
        """Bytes that the activations take."""
        return sum(value.numel() * value.element_size() for value in self.values())

    def __repr__(self) -> str:
        return f"ActivationCache({len(self)} activations, {self.n_bytes / 2**20:.1f} MiB)"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><code>{escape(name)}</code></td><td>{tuple(value.shape)}</td><td>{value.dtype}</td></tr>"
            for name, value in self.items()
        )
        return f"<details><summary>{escape(repr(self))}</summary><table>{rows}</table></details>"
