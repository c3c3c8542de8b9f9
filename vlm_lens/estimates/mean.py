"""The mean of activations over a data set, with its variance and where it comes from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.errors import EstimateError
from vlm_lens.estimates.manifest import Manifest
from vlm_lens.estimates.mean_file import read_moments, write_moments
from vlm_lens.estimates.moments import Moments
from vlm_lens.layout import PictureLayout


@dataclass(frozen=True, eq=False, repr=False)
class Mean:
    """Means at one hook or several, as `MeanEstimator` makes them; `mean[hook]` is a tensor.

    `[*features]`, or `[patch *features]` (`[pos *features]` inside a vision tower) where positions were kept apart;
    `features` is `d_model`, or `head_index d_head` where heads are told apart.

    Attributes:
        moments: for each hook.
        manifest: the model, the preprocessing, and what was seen.
    """

    moments: Mapping[str, Moments]
    manifest: Manifest

    def __getitem__(self, hook: str) -> Float[Tensor, "..."]:
        """The mean at a hook; NaN at positions that were never seen."""
        moments = self._at(hook)
        is_seen = (moments.n > 0).view(*moments.n.shape, *[1] * (moments.mean.ndim - moments.n.ndim))
        return torch.where(is_seen, moments.mean, torch.nan)

    def __iter__(self) -> Iterator[str]:
        return iter(self.moments)

    def __contains__(self, hook: object) -> bool:
        return hook in self.moments

    def __len__(self) -> int:
        """How many hooks."""
        return len(self.moments)

    @property
    def value(self) -> Float[Tensor, "..."]:
        """The mean, where there is one hook.

        Raises:
            EstimateError: for several.
        """
        return self[self._only()]

    def variance(self, hook: str | None = None) -> Float[Tensor, "..."]:
        """The unbiased variance at a hook (the only one for None); NaN for fewer than two vectors."""
        return self._at(hook or self._only()).variance()

    def deviation(self, hook: str | None = None) -> Float[Tensor, "..."]:
        """The standard deviation."""
        return self.variance(hook).sqrt()

    def n(self, hook: str | None = None) -> int:
        """How many vectors it is the mean of; the fewest at any position where these were kept apart."""
        return int(self._at(hook or self._only()).n.min())

    def check(self, model: Any, pictures: PictureLayout | None = None) -> None:
        """Raise for another model than this was made with, or other preprocessing.

        Args:
            model: what it is to be used with.
            pictures: those of the inputs at hand, if they are to be compared too.

        Raises:
            EstimateError: naming both.
        """
        self.manifest.check_model(model)
        self.manifest.check_pictures(pictures)

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file, with the manifest in its metadata; it stands there whole or not at all."""
        return write_moments(Path(path), self.moments, self.manifest)

    @classmethod
    def load(cls, path: str | Path) -> "Mean":
        """Read what `save` wrote.

        Raises:
            CheckpointError: no such file, or one that is damaged or no mean.
            EstimateError: what an interrupted estimate left.
        """
        moments, manifest = read_moments(Path(path))
        if not manifest.is_complete:
            advice = "Call estimate again with the same pictures and file, and it goes on."
            got = f"an estimate interrupted after {manifest.n_items:,} pictures"
            raise EstimateError(f"Mean at {str(path)!r}", "a finished estimate", got, advice)
        return cls(moments, manifest)

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each hook (and position): vectors seen, the mean's length, and the deviation of all features."""
        frames = []
        for hook, moments in self.moments.items():
            # Over the features, whether there are positions before them or not.
            mean, variance = (one.reshape(*moments.n.shape, -1) for one in (self[hook], moments.variance()))
            columns = {
                "hook": hook,
                "position": range(len(moments.n)) if moments.n.ndim else None,
                "n": moments.n.flatten().tolist() if moments.n.ndim else [int(moments.n)],
                "norm": mean.norm(dim=-1).flatten().tolist(),
                "deviation": variance.sum(dim=-1).sqrt().flatten().tolist(),
            }
            frames.append(pd.DataFrame(columns))
        return pd.concat(frames, ignore_index=True)

    def fingerprint_parts(self) -> Any:
        """What it says: the numbers, and whose they are."""
        numbers = {name: (one.n, one.mean, one.squares) for name, one in self.moments.items()}
        return [numbers, self.manifest.model_hash, self.manifest.preprocessing]

    def __repr__(self) -> str:
        hooks = list(self)
        shown = hooks[0] if len(hooks) == 1 else f"{hooks[0]} and {len(hooks) - 1} more"
        each = " per position" if self.manifest.per_position else ""
        return f"Mean({shown}{each}, N={self.n(hooks[0]):,}, {self.manifest.n_items:,} pictures, {self.manifest.model})"

    def _repr_html_(self) -> str:
        manifest = self.manifest
        facts = {
            "model": manifest.model_label, "preprocessing": manifest.preprocessing_hash or "unknown",
            "positions": manifest.positions, "pictures": f"{manifest.n_items:,}", "dtype": manifest.dtype,
        }  # fmt: skip
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(one))}</td></tr>" for name, one in facts.items())
        hooks = "".join(
            f"<tr><td><code>{escape(hook)}</code></td><td>{list(self[hook].shape)}</td><td>N={self.n(hook):,}</td></tr>"
            for hook in self
        )
        return f"<b>Mean</b><table>{rows}</table><table>{hooks}</table>"

    def _at(self, hook: str) -> Moments:
        if hook not in self.moments:
            raise EstimateError("Mean was not estimated", f"one of {', '.join(list(self)[:8])}", repr(hook))
        return self.moments[hook]

    def _only(self) -> str:
        if len(self.moments) != 1:
            advice = "Name the hook: mean[hook]."
            raise EstimateError("Mean of one hook", "one hook", f"{len(self.moments)} hooks", advice)
        return next(iter(self.moments))
