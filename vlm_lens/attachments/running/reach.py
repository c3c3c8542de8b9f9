"""Whether a run reaches the hooks where something stands: told before the model runs."""

from typing import Any

from torch import Tensor

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.attachments.naming.towers import OF_PICTURES, place_of, towers_of
from vlm_lens.attachments.running.current_pass import CurrentPass
from vlm_lens.errors import EmptySelectionError
from vlm_lens.model.joined import JoinedTransformer


def check_is_reached(
    model: Any,
    one: Attachment,
    hook_names: list[str],
    current: CurrentPass,
    given: Any,
    start_at_layer: int | None = None,
    stop_at_layer: int | None = None,
) -> None:
    """Raise for something that stands only at hooks which the run does not reach.

    Raises:
        EmptySelectionError: a tower that is shown no picture, embeddings where a stream is given, layers before
            `start_at_layer` or from `stop_at_layer`.
    """
    is_stream = isinstance(given, Tensor) and given.is_floating_point() and given.ndim == 3
    window = (start_at_layer, stop_at_layer, is_stream)
    if not hook_names or any(_is_reached(model, name, current, *window) for name in hook_names):
        return
    is_without_pictures = place_of(model, hook_names[0]) in OF_PICTURES and current.pictures is None
    why = "without pictures" if is_without_pictures else f"of layers [{start_at_layer or ''}:{stop_at_layer or ''}]"
    raise EmptySelectionError(
        f"{one!r} stands where nothing runs", "a hook that this run reaches", f"{hook_names[0]} in a run {why}",
        "on_empty='skip' allows that.",
    )  # fmt: skip


def _is_reached(
    model: Any, name: str, current: CurrentPass, start: int | None, stop: int | None, is_stream: bool
) -> bool:
    place = place_of(model, name)
    if isinstance(model, JoinedTransformer) and place in OF_PICTURES:
        return current.pictures is not None
    towers = towers_of(model)
    if next(iter(towers.values())).prefix:  # CLIP runs both of its towers whole
        return True
    layer = model.hook_dict[name].layer()
    if layer is None:
        return not is_stream if name.endswith("embed") else stop is None
    return layer in range(model.cfg.n_layers)[start:stop]
