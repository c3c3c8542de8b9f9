"""What a run left behind: TransformerLens's cache for the decoder, and one like it for the vision tower."""

from collections.abc import Iterator
from html import escape
from typing import Any

import torch
from torch import Tensor

from vlm_lens import _tl

_OF_PICTURES = ("vision.", "projector.")


class ActivationCache(_tl.ActivationCache):
    """TransformerLens's `ActivationCache` of the decoder, with the pictures' activations in it under their own names.

    `cache["resid_post", 5]`, `accumulated_resid()`, `logit_attrs(...)` and the other methods speak of the decoder.
    `cache["vision.blocks.3.attn.hook_z"]` and `cache["projector.hook_out"]` have pictures as their batch;
    `cache.vision` is a cache of the vision tower by itself, with the same methods.
    """

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
            self.model.check_hook_name(error.args[0])
            message = f"{error.args[0]} was not cached; add it to names_filter. Cached: {len(self)} activations"
            raise KeyError(message) from None

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
