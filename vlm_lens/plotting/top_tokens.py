"""The best tokens at each place, with their probabilities: what a logit lens hands to a figure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from vlm_lens.plotting.markup import escaped, percent, token_markup


@dataclass(frozen=True, eq=False)
class TopTokens:
    """Tokens and probabilities, best first along the last axis; any axes before it."""

    tokens: Shaped[np.ndarray, "*place rank"]
    probabilities: Float[np.ndarray, "*place rank"]

    def __post_init__(self) -> None:
        assert self.tokens.shape == self.probabilities.shape, (
            self.tokens.shape,
            self.probabilities.shape,
        )

    @property
    def n_ranks(self) -> int:
        """How many tokens are kept at each place."""
        return int(self.tokens.shape[-1])

    def __getitem__(self, place: Any) -> "TopTokens":
        """The same at a part of the places, as numpy indexes them."""
        return TopTokens(self.tokens[place], self.probabilities[place])

    def hover(self) -> Shaped[np.ndarray, "*place"]:
        """The tokens of each place as escaped lines of hover text."""
        n_ranks = self.n_ranks
        tokens, probabilities = (
            self.tokens.reshape(-1, n_ranks),
            self.probabilities.reshape(-1, n_ranks),
        )
        shown = {str(token): token_markup(str(token)) for token in np.unique(tokens)}
        texts = [
            "<br>".join(
                f"<b>{shown[str(token)]}</b>  {escaped_percent(float(probability))}"
                for token, probability in zip(row, values, strict=True)
            )
            for row, values in zip(tokens, probabilities, strict=True)
        ]
        return np.array(texts, dtype=object).reshape(self.tokens.shape[:-1])


def escaped_percent(probability: float) -> str:
    """A probability in words whose `<` or `>` is shown, not read as markup."""
    return escaped(percent(probability))
