"""No query may be left with nothing to attend to: told before the model runs."""

from collections.abc import Sequence

import torch

from vlm_lens.attachments.attachment import Attachment
from vlm_lens.attachments.edge_blocker import EdgeBlocker, allowed_edges, span_of
from vlm_lens.attachments.naming.hook_names import heads_of, layers_of
from vlm_lens.attachments.naming.towers import tower_named
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import HookError


def check_no_query_is_left_alone(ground: Ground, objects: Sequence[Attachment]) -> None:
    """Raise if all blockers together leave a query without a key, in any layer and head.

    Raises:
        HookError: with the layer and the positions.
    """
    blockers = [one for one in objects if isinstance(one, EdgeBlocker)]
    for name in dict.fromkeys(one.tower_name for one in blockers):
        _check_tower(ground, [one for one in blockers if one.tower_name == name])


def _check_tower(ground: Ground, blockers: list[EdgeBlocker]) -> None:
    tower = tower_named(ground.model, blockers[0].tower_name)
    sequences = ground.planned.sequences(tower.name)  # type: ignore[arg-type]
    if sequences is None:
        return
    cfg = tower.transformer.cfg
    layers = {id(one): set(layers_of(one.layers, cfg.n_layers, on_empty=one.on_empty)) for one in blockers}
    seen, allowed = ground.planned.memo, {}
    for layer in range(cfg.n_layers):
        here = [one for one in blockers if layer in layers[id(one)]]
        heads = [heads_of(one.chosen_heads, cfg.n_heads) for one in here]
        key = ("not alone", tower.name, cfg.window_sizes[layer], *(one.edges_key(layer) for one in here), *heads)
        if not here or key in seen:
            continue
        span = span_of(torch.stack([one.known_losing(layer, sequences) for one in here]).any(dim=0), tower)
        if not span:
            continue
        window = (cfg.window_sizes[layer], span)
        if window not in allowed:
            allowed[window] = allowed_edges(tower, sequences, layer, span)
        before = allowed[window]
        for head in _heads_to_try(here, cfg.n_heads):
            left = before.clone()
            for one in here:
                chosen = heads_of(one.chosen_heads, cfg.n_heads)
                if chosen is None or head in chosen:
                    left &= ~one.blocked(layer, sequences, span)
            lonely = torch.nonzero(before.any(dim=-1) & ~left.any(dim=-1))
            if len(lonely):
                row = int(lonely[0, 0])
                positions = [span.start + place for place in lonely[lonely[:, 0] == row][:8, 1].tolist()]
                raise HookError(
                    " with ".join(map(repr, here)),
                    "every query to keep at least one key",
                    f"none in layer {layer} for query position {', '.join(map(str, positions))} of row {row}",
                    "Leave each query itself, or the first position, to attend to.",
                )
        seen[key] = True


def _heads_to_try(blockers: list[EdgeBlocker], n_heads: int) -> list[int]:
    """One head of each set that is blocked alike."""
    kinds = {tuple(head in (heads_of(one.chosen_heads, n_heads) or range(n_heads)) for one in blockers): head
             for head in range(n_heads)}  # fmt: skip
    return list(kinds.values())
