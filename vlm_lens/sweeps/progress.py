"""How far a sweep is, and how long it will still take."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm


class Progress:
    """A bar that goes on with each layer of each part, and with each token that is generated.

    Args:
        lengths: for each part to come how many layers and tokens it has.
        is_shown: whether the bar is seen.
    """

    def __init__(self, lengths: Sequence[int], is_shown: bool) -> None:
        self.bar = tqdm(desc="sweep", unit="step", total=sum(lengths), disable=not is_shown or not lengths)
        self._end = 0

    def __enter__(self) -> "Progress":
        self.bar.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.bar.__exit__(*raised)

    @contextmanager
    def part(self, length: int) -> Iterator[None]:
        """The next part is run; when it has ended the bar stands where it should, whatever was told."""
        self._end = self.bar.n + length
        yield
        self.bar.update(self._end - self.bar.n)

    def step(self, *done: object) -> None:
        """One layer, or one token, has been computed."""
        if self.bar.n < self._end:
            self.bar.update()
