"""Runs of several inputs in turn, each using what the one before has computed of how it begins."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.attachments.running.runs import prepared
from vlm_lens.layout import Selector
from vlm_lens.recompute.beginning import Beginning
from vlm_lens.recompute.prefix import LEAST_SHARE, SHORTEST, Prefix
from vlm_lens.recompute.shared_run import MAX_ROWS, Outcome, SharedRun

Conditions = Sequence[Sequence[Attachment]]


def shared_runs(
    model: Any,
    inputs: Iterable[Any],
    conditions: Conditions | Callable[[Any], Conditions],
    wanted: Selector | None = "last",
    *,
    max_rows: int = MAX_ROWS,
) -> Iterator[list[Outcome]]:
    """The outcomes of each inputs under its conditions, in order.

    Several questions on one picture share its vectors, and the keys and values of all positions before the questions
    differ. One prefix is held at a time, and only while the inputs to come begin alike; a run that replaces it holds
    its own beside it until it has ended.

    Args:
        model: what runs.
        inputs: what it is given, one after the other.
        conditions: the same for all, or made for each inputs: regions belong to a layout.
        wanted: the positions whose logits are wanted; None for none at all.
        max_rows: rows of variants that pass a layer together.

    Raises:
        VlmLensError: before some inputs are run, for an object that cannot act on them.
    """
    prefix: Prefix | None = None
    for one, following in _with_following(model, inputs):
        asked = conditions(one) if callable(conditions) else conditions
        run = SharedRun(model, one, asked, wanted, max_rows=max_rows, prefix=prefix)
        keep = 0 if following is None else worth_keeping(run, prefix, Beginning.of_inputs(model, following))
        outcomes = run.run(keep=keep)
        prefix = None if following is None else run.kept or prefix
        run.let_go()
        yield outcomes


def _with_following(model: Any, inputs: Iterable[Any]) -> Iterator[tuple[Any, Any | None]]:
    """Each inputs, ready for the model, and those after them; None after the last."""
    before = None
    for one in inputs:
        ready = prepared(model, one)
        if before is not None:
            yield before, ready
        before = ready
    if before is not None:
        yield before, None


def worth_keeping(run: SharedRun, prefix: Prefix | None, following: Beginning) -> int:
    """How many positions of a run the following one may share; 0 where the prefix at hand serves it as well."""
    own = run.beginning
    n = own.n_alike(following)
    n = n if n >= max(SHORTEST, LEAST_SHARE * len(following.tokens)) else 0
    if prefix is not None and (run.prefix is not None or not n):
        held = prefix.beginning
        if held.n_alike(following) >= n and (held.has_pictures_of(following) or not own.has_pictures_of(following)):
            return 0
    return n or int(own.has_pictures_of(following))
