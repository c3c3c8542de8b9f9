"""A hue for each frequent word, a depth for its probability: one number a cell says both."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vlm_lens.plotting.markup import token_markup
from vlm_lens.plotting.theme import OTHER_COLOUR, WORD_COLOURS, rgba
from vlm_lens.plotting.top_tokens import TopTokens

BELOW_ONE = 0.999
"""The largest probability in a code: 1 would be the next word's 0."""


@dataclass(frozen=True)
class WordColours:
    """The words that have a hue, the most frequent first; all others share a grey.

    A cell's code is the number of its word (0 for the others, the most frequent word last, so that
    it stands on top of the legend) plus its probability.
    """

    words: tuple[str, ...]

    @staticmethod
    def of(lens: TopTokens) -> "WordColours":
        """Hues for the tokens that most often stand first, each counted with its probability."""
        weights: Counter[str] = Counter()
        tokens, probabilities = lens.tokens[..., 0], lens.probabilities[..., 0]
        for token in np.unique(tokens):
            weights[str(token)] = float(probabilities[tokens == token].sum())  # type: ignore[assignment]
        return WordColours(tuple(word for word, _ in weights.most_common(len(WORD_COLOURS))))

    @property
    def n_codes(self) -> int:
        """How many strips the colour scale has: one a word and one for the others."""
        return len(self.words) + 1

    def codes(self, lens: TopTokens) -> Float[np.ndarray, "*place"]:
        """The code of each place's top token."""
        number = {word: len(self.words) - index for index, word in enumerate(self.words)}
        tokens = lens.tokens[..., 0]
        numbers = np.vectorize(lambda token: number.get(str(token), 0), otypes=[np.float32])(tokens)
        codes: np.ndarray = numbers + np.clip(lens.probabilities[..., 0], 0.0, BELOW_ONE)
        return codes.astype(np.float32)

    def scale(self) -> list[list[float | str]]:
        """The colour scale over [0, n_codes]: a strip a word, from faint to full."""
        scale: list[list[float | str]] = []
        colours = [OTHER_COLOUR, *reversed(WORD_COLOURS[: len(self.words)])]
        for index, colour in enumerate(colours):
            scale.append([index / self.n_codes, rgba(colour, 0.12)])
            scale.append([(index + 1) / self.n_codes, rgba(colour, 0.88)])
        return scale

    def bar(self) -> dict[str, object]:
        """The legend: each word beside its strip of the scale."""
        names = ["<i>other</i>", *(token_markup(word) for word in reversed(self.words))]
        return {
            "tickvals": [index + 0.5 for index in range(self.n_codes)],
            "ticktext": names,
            "thickness": 14,
            "len": 0.9,
            "outlinewidth": 0,
            "ticks": "outside",
            "ticklen": 5,
            "tickcolor": "rgba(0, 0, 0, 0)",
            "tickfont": {"size": 12},
        }
