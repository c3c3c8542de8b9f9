"""Which way each pass of a generation goes."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from vlm_lens.model.fixed_step import FixedStep
from vlm_lens.model.key_value_cache import KeyValueCache
from vlm_lens.model.plain_step import PlainStep


class Decoding:
    """The passes of one generation: the prompt's, then one for each new token.

    A step at which somebody stands goes through the blocks, and all others straight through the checkpoint's modules,
    on fixed shapes where that was asked for.

    Args:
        model: the decoder.
        past: what keys and values are kept in; None to run the whole sequence in every pass.
        n_steps: passes at most, the prompt's not counted.
        is_fixed: whether steps run on fixed shapes; `fixed_step.check_fits` has passed.
    """

    def __init__(self, model: Any, past: KeyValueCache | None, n_steps: int, is_fixed: bool = False) -> None:
        self.model, self.past, self.n_steps, self.is_fixed = model, past, n_steps, is_fixed
        self.was_watched = True
        self._plain = PlainStep(model) if past is not None and PlainStep.fits(model) else None
        self._fixed: FixedStep | None = None

    def logits(self, given: Any) -> Float[Tensor, "batch d_vocab"]:
        """What follows each row: of a prompt, or of the one new token `[batch 1]` after what is held."""
        plain, past = self._plain, self.past
        is_step = isinstance(given, Tensor) and past is not None and past.n_positions > 0
        self.was_watched = plain is None or not is_step or plain.is_watched
        if self.was_watched:
            last: Tensor = self.model(given, only_last=True, past=past)[:, -1]
            return last
        assert plain is not None and past is not None
        if not self.is_fixed:
            return plain.after(past, given)
        if self._fixed is None:
            self._fixed = FixedStep(plain, past, self.n_steps)
        return self._fixed.logits(given)
