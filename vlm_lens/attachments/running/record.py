"""What happened in one run: its inputs, its positions, and what readers kept."""

from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from vlm_lens.layout import PictureLayout, TokenLayout


@dataclass(eq=False)
class Record:
    """One run: the pass of a prompt, and those of the tokens generated after it.

    Attributes:
        model: what ran.
        given: the input of the first pass.
        layout: the positions that were run, then those of the whole generation; None without text.
        pictures: the pictures, without class tokens; None without any.
        tokens: what each later pass was given.
        reads: what each reader kept.
        skipped: attachments that found nothing to act on and were made with `on_empty="skip"`.
        options: what the model's forward was given besides.
        beside: the sessions that stood at the model during the run, this one among them.
        n_expected: how many tokens were to be generated at most; their positions could be named.
        ends: what each pass gave, at its last position.
        is_whole: whether the layout is that of a whole generation, the last token of each row included.
    """

    model: Any
    given: Any
    layout: TokenLayout | None
    pictures: PictureLayout | None
    tokens: list[Tensor] = field(default_factory=list)
    reads: dict[int, list[Any]] = field(default_factory=dict)
    skipped: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    beside: tuple[Any, ...] = ()
    n_expected: int = 0
    ends: list[Tensor] = field(default_factory=list)
    is_whole: bool = False

    @property
    def n_steps(self) -> int:
        """The passes that were run."""
        return 1 + len(self.tokens)

    def counted(self) -> Bool[Tensor, "batch pos"]:
        """True at the positions that a row would run by itself, whatever else is in the batch.

        Padding is none of them, nor is the last token that a row generated: it predicts nothing, and is run only where
        other rows go on.
        """
        assert self.layout is not None
        is_counted = self.layout.mask("all")
        for row in range(self.layout.n_rows if self.is_whole else 0):
            if generated := self.layout.positions("generated", row):
                is_counted[row, generated[-1]] = False
        return is_counted

    @property
    def images(self) -> tuple[Any, ...]:
        """The pictures as opened, where they are known."""
        return tuple(getattr(self.given, "images", ()))
