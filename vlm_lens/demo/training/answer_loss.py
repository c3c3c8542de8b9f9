"""The decoder's loss: the answers of many turns packed behind one picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import repeat
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

from vlm_lens.demo.training.encoded_turns import EncodedTurn
from vlm_lens.demo.training.packed_attention import PackedLayout, TurnGroup


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """Packed sequences with their targets.

    Attributes:
        input_ids: Token ids; in the prefix they are the same for every row.
        layout: Where prefix and turns stand.
        image_start: Position of the first image token, None for text alone.
        rows: Flat positions (`row * n_positions + position`) whose next token is an answer's.
        targets: That next token.
        weights: Its weight.
        tasks: The task that each target belongs to, as a number in `TASKS`; -1 for a closing `</s>`.
    """

    input_ids: Int[Tensor, "batch pos"]
    layout: PackedLayout
    image_start: int | None
    rows: Int[Tensor, " answer"]
    targets: Int[Tensor, " answer"]
    weights: Float[Tensor, " answer"]
    tasks: Int[Tensor, " answer"]


TASKS = ("presence", "on", "color", "place", "parts", "describe")


def pack_turns(
    prefix: Sequence[int],
    groups: Sequence[Sequence[Sequence[EncodedTurn]]],
    answer_weights: Mapping[str, float],
    image_token_id: int | None = None,
    n_patches: int = 0,
) -> PackedBatch:
    """Packs groups of turns behind a prefix whose image token stands for all patches.

    Args:
        prefix: Token ids in front of every turn.
        groups: For each group, for each row of the batch, its turns: as many in every row.
        answer_weights: Weight of an answer token by task.
        image_token_id: The image's token in the prefix, None for text alone.
        n_patches: How many tokens an image takes.
    """
    ids = list(prefix)
    image_start = None
    if image_token_id is not None:
        image_start = ids.index(image_token_id)
        ids[image_start : image_start + 1] = [image_token_id] * n_patches
    layout = PackedLayout(
        len(ids),
        tuple(TurnGroup(len(rows[0]), max(len(turn.ids) for row in rows for turn in row)) for rows in groups),
    )
    packed = np.zeros((len(groups[0]), layout.n_positions), dtype=np.int64)
    packed[:, : len(ids)] = ids
    at: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    tasks: list[np.ndarray] = []
    start = len(ids)
    for group, rows in zip(layout.groups, groups, strict=True):
        for row, turns in enumerate(rows):
            for place, turn in enumerate(turns):
                first = start + place * group.length
                packed[row, first : first + len(turn.ids)] = turn.ids
                answer = np.arange(turn.n_given, len(turn.ids))
                at.append(row * layout.n_positions + first + answer - 1)
                targets.append(turn.ids[answer])
                weights.append(np.full(len(answer), answer_weights[turn.task]))
                tasks.append(np.full(len(answer), TASKS.index(turn.task)))
                tasks[-1][-1] = -1
        start += group.n_turns * group.length
    return PackedBatch(
        torch.from_numpy(packed),
        layout,
        image_start,
        torch.from_numpy(np.concatenate(at)),
        torch.from_numpy(np.concatenate(targets).astype(np.int64)),
        torch.from_numpy(np.concatenate(weights).astype(np.float32)),
        torch.from_numpy(np.concatenate(tasks)),
    )


def packed_states(
    llava: LlavaForConditionalGeneration,
    batch: PackedBatch,
    features: Float[Tensor, "batch patch d_vision"] | None,
) -> Float[Tensor, "batch pos d_model"]:
    """The decoder's last states of packed sequences, the patches' features put through the projector.

    The decoder must have been told to use `packed_attention.PACKED_TURNS`.
    """
    decoder: Any = llava.model.language_model
    device = llava.device
    merged = decoder.embed_tokens(batch.input_ids.to(device))
    if batch.image_start is not None:
        assert features is not None
        projected = llava.model.multi_modal_projector(features).to(merged.dtype)
        end = batch.image_start + features.shape[1]
        merged = torch.cat([merged[:, : batch.image_start], projected, merged[:, end:]], dim=1)
    positions = repeat(batch.layout.position_ids().to(device), "pos -> batch pos", batch=len(merged))
    return decoder(
        inputs_embeds=merged,
        position_ids=positions,
        use_cache=False,
        packed_layout=batch.layout,
    ).last_hidden_state


def answer_loss(
    llava: LlavaForConditionalGeneration,
    batch: PackedBatch,
    features: Float[Tensor, "batch patch d_vision"] | None,
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Weighted mean cross-entropy of the answers' tokens, and the share of right tokens by task."""
    states = packed_states(llava, batch, features)
    answering = states.reshape(-1, states.shape[-1])[batch.rows.to(states.device)]
    logits = llava.lm_head(answering).float()
    targets, weights = batch.targets.to(logits.device), batch.weights.to(logits.device)
    losses = functional.cross_entropy(logits, targets, reduction="none")
    is_right = (logits.detach().argmax(-1) == targets).float()
    tasks = batch.tasks.to(logits.device)
    right = {
        task: is_right[tasks == number].mean() for number, task in enumerate(TASKS) if (batch.tasks == number).any()
    }
    return (losses * weights).sum() / weights.sum(), right
