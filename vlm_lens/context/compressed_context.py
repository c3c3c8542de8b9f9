"""Image re-prompting, its second half: what is left of a picture, and questions asked of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from html import escape
from typing import Any

import pandas as pd
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.attachments import Attachment
from vlm_lens.attachments.naming.described import described
from vlm_lens.attachments.running.standing import standing_at
from vlm_lens.context.new_text import all_strings, literal_pieces, new_inputs, question_pieces, token_inputs
from vlm_lens.errors import HookError, InputError
from vlm_lens.inputs import Inputs
from vlm_lens.model.generation import Generation, Step, generated, stream_tokens
from vlm_lens.model.key_value_cache import KeyValueCache
from vlm_lens.model.sampling import Sampling
from vlm_lens.plotting.kept_patches import kept_patches
from vlm_lens.plotting.seen_picture import patch_picture


@dataclass(frozen=True, eq=False, repr=False)
class CompressedContext:
    """Keys and values that answer questions about a picture without it; asking changes nothing in them.

    New text stands behind the whole prompt: nothing moves up into the places of what was dropped.

    Attributes:
        model: what read the prompt and answers.
        inputs: the prompt, with its picture.
        description: what was generated to rank the image tokens; the context does not hold it.
        variant: "both" text and image tokens, "query" or "image" alone.
        ranking: the attention to each image token by which those to keep were chosen.
        is_kept: which of the prompt's positions each layer holds, as many in every one.
        keys: in each layer, of the kept positions in their order, rotated as they stood.
        values: in each layer.
        template: how questions are written; None for the checkpoint's own way.
    """

    model: Any
    inputs: Inputs
    description: str
    variant: str
    ranking: Float[Tensor, "layer image_pos"]
    is_kept: Bool[Tensor, "layer pos"]
    keys: tuple[Float[Tensor, "kept kv_head d_head"], ...] = field(repr=False)
    values: tuple[Float[Tensor, "kept kv_head d_head"], ...] = field(repr=False)
    template: str | None = None

    # Questions

    def ask(
        self,
        question: str | Sequence[str],
        *objects: Attachment,
        max_new_tokens: int = 50,
        template: str | None = None,
        eos_token_id: int | Sequence[int] | None = None,
        on_token: Callable[[Step], None] | None = None,
        **sampling: Any,
    ) -> Generation:
        """What the model answers, of the context alone: `context.ask("Is there a cat?").text`.

        The new text is the question and what stands behind it in the template, `{q} ASSISTANT:`; one with role markers
        in it is taken as it stands. Several questions are a batch, and none sees another.

        Args:
            question: one or several.
            objects: none is taken: layers hold different positions, so that names of positions mean nothing.
            max_new_tokens: at most so many tokens.
            template: see `HookedVLM.prepare`; None for the one that the prompt was written in.
            eos_token_id: an answer ends with this token (or one of these); None takes the checkpoint's.
            on_token: called with each `Step` as it comes.
            sampling: the fields of `vlm_lens.model.sampling.Sampling`.

        Raises:
            InputError: an empty question, one with an image marker, an option that does not exist, more positions than
                the model has.
            HookError: for attachments.
        """
        if self.model.tokenizer is None:
            raise InputError("Question cannot be written", "a model with a processor", "none", "Use logits(tokens).")
        questions = [question] if isinstance(question, str) else list(question)
        known = [one.name for one in fields(Sampling)]
        if unknown := [name for name in sampling if name not in known]:
            raise InputError("Options of ask", f"some of {', '.join(known)}", ", ".join(unknown))
        processor, template = self.model.processor, template or self.template
        rows = [question_pieces(processor, one, template) for one in questions]
        given = new_inputs(processor, rows, self.model.image_token_id).to(self._device)
        if max_new_tokens < 1:
            raise InputError("max_new_tokens", "at least 1", max_new_tokens)
        past = self._past(given.shape[1] + max_new_tokens, objects)
        ends = self.model.cfg.end_token_ids if eos_token_id is None else eos_token_id
        ends = (ends,) if isinstance(ends, int) else tuple(ends)
        steps = stream_tokens(
            self.model, given, max_new_tokens=max_new_tokens, sampling=Sampling(**sampling), end_tokens=ends, past=past
        )
        return generated(self.model, given, steps, on_token, ends, caches=False)

    @torch.no_grad()
    def logits(self, text: Any) -> Float[Tensor, "batch new_pos d_vocab"]:
        """What follows each position of some new text, which is taken as it stands: no template, no BOS.

        Args:
            text: a string or several (the shorter padded on the left, where the logits mean nothing), or a tensor of
                tokens `[pos]` or `[batch pos]`.

        Raises:
            InputError: no text, an image marker or image token in it, tokens outside the vocabulary, more positions
                than the model has.
        """
        if isinstance(text, Tensor):
            given = token_inputs(text, self.model.embed.W_E.shape[0])
        else:
            if not isinstance(text, str) and not (isinstance(text, list | tuple) and all_strings(text)):
                rule = "a text, several, or a tensor of tokens"
                raise InputError("New text in a compressed context", rule, described(text))
            processor, texts = self.model.processor, [text] if isinstance(text, str) else text
            rows = [literal_pieces(processor, one) for one in texts]
            given = new_inputs(processor, rows, self.model.image_token_id)
        if bool((given.input_ids == self.model.image_token_id).any()):
            raise InputError("New text in a compressed context", "text alone", "an image token")
        logits: Tensor = self.model(given.to(self._device), past=self._past(given.shape[1]))
        return logits

    def _past(self, n_new: int, objects: Sequence[Attachment] = ()) -> KeyValueCache:
        """The keys and values as a pass wants them, after a check that so many new positions have room.

        Raises:
            InputError, HookError: see `ask`.
        """
        attached = [*objects, *(one for session in standing_at(self.model) for one in session.objects)]
        if attached:
            rule = "a run in which every layer has the same positions"
            advice = "Attach while it is compressed, or drop the tokens from the whole model by TopKContext."
            raise HookError("Attachments cannot stand in a compressed context", rule, repr(attached), advice)
        n_positions = self.next_position + n_new
        if n_positions > self.model.cfg.n_ctx:
            got = f"{self.next_position} + {n_new} new"
            raise InputError("Compressed context is longer than the model's", f"at most {self.model.cfg.n_ctx}", got)
        check_windows(self.model, n_positions)
        layers = [
            (rearrange(k, "pos head d_head -> 1 head pos d_head"), rearrange(v, "pos head d_head -> 1 head pos d_head"))
            for k, v in zip(self.keys, self.values, strict=True)
        ]
        return KeyValueCache.holding(layers, self.n_dropped)

    @property
    def _device(self) -> torch.device:
        device: torch.device = self.model.embed.W_E.device
        return device

    # What is kept

    @property
    def next_position(self) -> int:
        """Where new text begins: behind the whole prompt."""
        return self.is_kept.shape[1]

    @property
    def n_kept(self) -> int:
        """The positions that each layer holds."""
        return int(self.is_kept[0].sum())

    @property
    def n_dropped(self) -> int:
        """The positions of the prompt that each layer does not hold."""
        return self.next_position - self.n_kept

    @property
    def is_image_token_kept(self) -> Bool[Tensor, "layer image_pos"]:
        """Which image tokens each layer holds."""
        return self.is_kept[:, self.inputs.layout.mask("image")[0]]

    @property
    def n_bytes(self) -> int:
        """Bytes of the keys and values that are held."""
        return sum(one.numel() * one.element_size() for one in (*self.keys, *self.values))

    @property
    def n_bytes_whole(self) -> int:
        """Bytes that the whole prompt's keys and values take."""
        return self.n_bytes // self.n_kept * self.next_position

    @property
    def n_bytes_saved(self) -> int:
        """Bytes that the dropped positions would take."""
        return self.n_bytes_whole - self.n_bytes

    # To look at

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each layer and image token: its place, its attention, whether it is kept.

        `patch_row` and `patch_col` are missing for a class token that stands among the image tokens.
        """
        layout, rows = self.inputs.layout, []
        for image, span in enumerate(layout.images[0]):
            for position in span.positions:
                patch = position - span.patch_positions.start
                place = divmod(patch, span.grid.n_cols) if patch >= 0 else (None, None)
                rows.append((image, position, *place))
        places = pd.DataFrame(rows, columns=["image", "position", "patch_row", "patch_col"])
        places[["patch_row", "patch_col"]] = places[["patch_row", "patch_col"]].astype("Int64")
        parts = [
            places.assign(layer=layer, attention=attention.numpy(), is_kept=is_kept.numpy())
            for layer, (attention, is_kept) in enumerate(zip(self.ranking, self.is_image_token_kept, strict=True))
        ]
        frame = pd.concat(parts, ignore_index=True)
        return frame[["layer", *places.columns, "attention", "is_kept"]]

    def plot(self, image: int = 0) -> Any:
        """Which patches are kept, and in how many layers, over the picture: a plotly figure.

        Args:
            image: which picture of the prompt.
        """
        span = self.inputs.layout.image_span(image)
        columns = slice(span.patch_positions.start, span.patch_positions.stop)
        kept = rearrange(
            self.is_kept[:, columns], "layer (row column) -> layer row column", column=span.grid.n_cols
        ).numpy()
        images = self.inputs.images
        return kept_patches(patch_picture(span, images[image] if images else None), kept)

    def __repr__(self) -> str:
        n_image, n_all = int(self.is_image_token_kept[0].sum()), self.ranking.shape[1]
        saved = self.n_bytes_saved / max(self.n_bytes_whole, 1)
        return (
            f"CompressedContext({self.variant}: {self.n_kept} of {self.next_position} positions in each of "
            f"{len(self.is_kept)} layers, {n_image} of {n_all} image tokens; {_shown(self.n_bytes)} of "
            f"{_shown(self.n_bytes_whole)}, {saved:.0%} saved)"
        )

    def _repr_html_(self) -> str:
        n_image, n_all = int(self.is_image_token_kept[0].sum()), self.ranking.shape[1]
        n_text, n_all_text = self.n_kept - n_image, self.next_position - n_all
        rows = [
            ("", "kept", "of"),
            ("image tokens in each layer", n_image, n_all),
            ("image tokens in any layer", int(self.is_image_token_kept.any(dim=0).sum()), n_all),
            ("text tokens", n_text, n_all_text),
            ("keys and values", _shown(self.n_bytes), _shown(self.n_bytes_whole)),
        ]
        cells = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
        return f"<b>CompressedContext</b> ({escape(self.variant)})<table>{cells}</table>"


def check_windows(vlm: Any, n_positions: int) -> None:
    """Raise for layers that see less than so many positions: their keys would be counted wrongly.

    Raises:
        InputError: with the shortest window.
    """
    windows = [window for window in vlm.cfg.window_sizes if window is not None]
    if windows and min(windows) < n_positions:
        rule = f"at most {min(windows)} positions, the window of a layer,"
        raise InputError("Compressed context in a sliding window", rule, n_positions)


def _shown(n_bytes: int) -> str:
    """Bytes in a unit that suits them."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} B"
