"""Count, mean and squared deviation of vectors, merged without going back to them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Moments:
    """The first two moments of the vectors seen so far, over all positions or for each.

    Attributes:
        n: how many vectors, for each position where these are kept apart.
        mean: their mean; zero where there were none.
        squares: the sum of their squared deviations from it.

    Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
    """

    n: Int64[Tensor, "*pos"]
    mean: Float[Tensor, "*pos_features"]
    squares: Float[Tensor, "*pos_features"]

    @classmethod
    def of(
        cls,
        values: Float[Tensor, "batch pos *features"],
        is_seen: Bool[Tensor, "batch pos"],
        per_position: bool,
        dtype: torch.dtype,
    ) -> "Moments":
        """The moments of some positions of a batch.

        Args:
            values: an activation.
            is_seen: the positions that count.
            per_position: keep the positions apart.
            dtype: what is summed in.
        """
        n_features = values.ndim - 2
        if not per_position:
            seen = values[is_seen].to(dtype)
            n = torch.tensor(len(seen), device=values.device)
            mean = seen.sum(dim=0) / max(len(seen), 1)
            return cls(n, mean, (seen - mean).square().sum(dim=0))
        n, weights = is_seen.sum(dim=0), is_seen.view(*is_seen.shape, *[1] * n_features)
        # Zeros in the places that do not count: a NaN there must not spread.
        seen = values.to(dtype).masked_fill(~weights, 0.0)
        mean = seen.sum(dim=0) / n.clamp(min=1).view(-1, *[1] * n_features)
        return cls(n, mean, (seen - mean).masked_fill(~weights, 0.0).square().sum(dim=0))

    def merged(self, other: "Moments") -> "Moments":
        """The moments of both sets of vectors together; exact but for rounding."""
        n = self.n + other.n
        shape = [*n.shape, *[1] * (self.mean.ndim - n.ndim)]
        dtype = self.mean.dtype
        share = (other.n.to(dtype) / n.clamp(min=1).to(dtype)).view(shape)
        apart = other.mean - self.mean
        squares = self.squares + other.squares + apart.square() * share * self.n.view(shape).to(dtype)
        return Moments(n, self.mean + apart * share, squares)

    def variance(self) -> Float[Tensor, "*pos_features"]:
        """The unbiased variance; NaN for fewer than two vectors."""
        freedom = (self.n - 1).view(*self.n.shape, *[1] * (self.mean.ndim - self.n.ndim))
        return torch.where(freedom > 0, self.squares / freedom.clamp(min=1), torch.nan)

    def to(self, device: torch.device | str) -> "Moments":
        """The same elsewhere."""
        return Moments(self.n.to(device), self.mean.to(device), self.squares.to(device))
