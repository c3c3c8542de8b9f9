"""Every hook of CLIP fires, and writing it moves the similarities; reading moves none.

Pictures are read at the class token and texts at their end token, so every write is another number at every position.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_models import D_VOCAB, PAD_TOKEN, TEXT_TOKENS, new_clip, random_pixels
from vlm_lens import HookedCLIP

HIDDEN_KEY = 1  # no class token and no end token
END = D_VOCAB - 1  # the highest id
ENDS = (9, 5)


@pytest.fixture(scope="module")
def shared_clip() -> HookedCLIP:
    return HookedCLIP.from_hf(new_clip())


@pytest.fixture
def clip(shared_clip: HookedCLIP) -> Iterator[HookedCLIP]:
    """The shared model; no hook may stand at it when a test ends."""
    yield shared_clip
    standing = [name for name, point in shared_clip.hook_dict.items() if not point.is_idle]
    shared_clip.reset_hooks(including_permanent=True)
    assert standing == []


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    """Three pictures and two texts, the second padded on the right as CLIP's tokenizer does."""
    random = torch.Generator().manual_seed(1)
    tokens = torch.randint(TEXT_TOKENS.start, END, (2, 10), generator=random)
    mask = torch.ones_like(tokens)
    tokens[0, ENDS[0]] = tokens[1, ENDS[1]] = END
    tokens[1, ENDS[1] + 1 :], mask[1, ENDS[1] + 1 :] = PAD_TOKEN, 0
    return {"input_ids": tokens, "attention_mask": mask, "pixel_values": random_pixels(3)}


def edited(value: Tensor) -> Tensor:
    """One key hidden from the queries that saw it, in a mask; other finite numbers everywhere, elsewhere."""
    if value.dtype == torch.bool:
        others = torch.arange(value.shape[-1]) != HIDDEN_KEY
        return value & (others | ~others[: value.shape[-2], None])  # its own query goes on to see it
    wave = torch.sin(torch.arange(value.numel(), dtype=value.dtype)).view_as(value)
    return torch.where(torch.isinf(value), value, value * (0.8 + 0.2 * wave) + 0.05 * wave)


def write_through_data(value: Tensor, hook: Any) -> None:
    value.data.copy_(edited(value.data))


WRITERS: dict[str, Callable[..., Tensor | None]] = {
    "returned": lambda value, hook: edited(value),
    "in place": lambda value, hook: value.copy_(edited(value)),
    "through data": write_through_data,
}


def test_every_write_moves_the_similarities(clip: HookedCLIP, inputs: dict[str, Tensor]) -> None:
    dead, endless, unlike = [], [], []
    with torch.no_grad():
        alone = clip(inputs)
        for name in clip.hook_dict:
            fired: list[str] = []

            def note(value: Tensor, hook: Any, fired: list[str] = fired) -> None:
                fired.append(hook.name)

            written = [clip.run_with_hooks(inputs, fwd_hooks=[(name, note), (name, w)]) for w in WRITERS.values()]
            assert fired == [name] * len(WRITERS)
            # Well above the rounding (1e-7) by which a path with hooks may differ from the fused one.
            if (written[0] - alone).abs().max() <= 1e-4 * alone.abs().max():
                dead.append(name)
            if not torch.isfinite(written[0]).all():
                endless.append(name)
            if not all(torch.equal(one, written[0]) for one in written):
                unlike.append(name)
    assert (dead, endless, unlike) == ([], [], [])


def test_a_tower_moves_its_own_side_alone(clip: HookedCLIP, inputs: dict[str, Tensor]) -> None:
    """A write in the text tower leaves every picture's vector as it was, and the other way round."""
    vectors = ("hook_image_embed", "hook_text_embed")
    with torch.no_grad():
        _, alone = clip.run_with_cache(inputs, names_filter=vectors)
        for tower, moved, kept in (("vision", *vectors), ("text", *reversed(vectors))):
            with clip.hooks(fwd_hooks=[(f"{tower}.blocks.0.hook_resid_post", WRITERS["returned"])]):
                _, found = clip.run_with_cache(inputs, names_filter=vectors)
            assert not torch.equal(found[moved], alone[moved])
            assert torch.equal(found[kept], alone[kept])


def test_behind_the_last_block_the_pooled_position_alone_counts(clip: HookedCLIP, inputs: dict[str, Tensor]) -> None:
    texts = torch.arange(len(ENDS))
    pooled = {"vision": (slice(None), 0), "text": (texts, torch.tensor(ENDS))}
    with torch.no_grad():
        alone = clip(inputs)
        for tower, place in pooled.items():
            name = f"{tower}.blocks.{getattr(clip, tower).cfg.n_layers - 1}.hook_resid_post"

            def write_the_others(value: Tensor, hook: Any, place: Any = place) -> Tensor:
                other = edited(value)
                other[place] = value[place]
                return other

            def write_it(value: Tensor, hook: Any, place: Any = place) -> Tensor:
                other = value.clone()
                other[place] = edited(value)[place]
                return other

            others, it = (clip.run_with_hooks(inputs, fwd_hooks=[(name, w)]) for w in (write_the_others, write_it))
            assert torch.equal(others, alone), name
            assert not torch.allclose(it, alone), name


def test_reading_every_name_moves_no_similarity(clip: HookedCLIP, inputs: dict[str, Tensor]) -> None:
    read: list[str] = []

    def note(value: Tensor, hook: Any) -> None:
        read.append(hook.name)

    with torch.no_grad():
        alone = clip(inputs)
        looked_into = clip.run_with_hooks(inputs, fwd_hooks=[(name, note) for name in clip.hook_dict])
    assert sorted(read) == sorted(clip.hook_dict)
    assert torch.equal(looked_into, alone)
