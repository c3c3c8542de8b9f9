"""What asking a language model has cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What a client has spent since it was made, in this process.

    Attributes:
        n_asked: answers that a server gave.
        n_cached: answers that were known already.
        prompt_tokens: read by the model.
        answer_tokens: written by it.
        dollars: what these tokens cost; None where no prices are given, or a server did not tell its tokens.
    """

    n_asked: int
    n_cached: int
    prompt_tokens: int
    answer_tokens: int
    dollars: float | None

    def __str__(self) -> str:
        money = "price unknown" if self.dollars is None else f"${self.dollars:.4f}"
        tokens = f"{self.prompt_tokens:,} tokens read, {self.answer_tokens:,} written"
        return f"{self.n_asked} answers ({tokens}; {money}), {self.n_cached} more from the cache"


@dataclass
class Tally:
    """The running counts behind a `Cost`."""

    n_asked: int = 0
    n_cached: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    n_untold: int = 0

    def add(self, usage: object) -> None:
        """An answer, with what the server says of its tokens: `prompt_tokens` and `completion_tokens`, if anything."""
        self.n_asked += 1
        told = usage if isinstance(usage, dict) else {}
        counts = told.get("prompt_tokens"), told.get("completion_tokens")
        if isinstance(counts[0], int) and isinstance(counts[1], int):
            self.prompt_tokens += counts[0]
            self.answer_tokens += counts[1]
        else:
            self.n_untold += 1

    def cost(self, prices: tuple[float, float] | None) -> Cost:
        """The cost at prices in dollars for a million tokens read and written."""
        dollars = None
        if prices is not None and not self.n_untold:
            dollars = (self.prompt_tokens * prices[0] + self.answer_tokens * prices[1]) / 1e6
        return Cost(self.n_asked, self.n_cached, self.prompt_tokens, self.answer_tokens, dollars)
