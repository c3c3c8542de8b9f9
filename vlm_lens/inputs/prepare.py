"""From pictures and prompts to `Inputs`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from vlm_lens.errors import InputError
from vlm_lens.inputs.images import ImageLike, open_image
from vlm_lens.inputs.inputs import Inputs
from vlm_lens.inputs.pictures import GridFor, ProcessedPictures, process_pictures
from vlm_lens.inputs.processors import Processor, Tokenizer, image_marker
from vlm_lens.inputs.rows import TokenRow, tokenize
from vlm_lens.inputs.templates import (
    Piece,
    has_chat_template,
    has_role_markers,
    pieces_of_chat,
    pieces_of_literal,
    pieces_of_template,
)
from vlm_lens.layout import ImageSpan, TokenLayout

Images = ImageLike | Sequence[ImageLike | Sequence[ImageLike] | None] | None


@dataclass(frozen=True)
class _Request:
    """One row as asked for."""

    prompt: str
    pictures: tuple[Image.Image, ...]


def prepare(
    processor: Processor,
    images: Images,
    prompt: str | Sequence[str],
    *,
    image_token_id: int,
    grid_for: GridFor,
    template: str | None = None,
    max_length: int | None = None,
    n_class_tokens: int = 0,
    pad_to_square: bool = False,
) -> Inputs:
    r"""Pictures and prompts as a model takes them, with the layout of their positions.

    One prompt makes one row, with one picture, several (as many as it has markers) or none. A
    list of prompts makes a batch: `images` is then a list with, for each prompt, a picture, a
    list of them or None; a single picture is shown to every prompt. Rows are padded on the left;
    the processor is not changed.

    Args:
        processor: holds `tokenizer`, `image_processor` and perhaps a chat template.
        images: PIL images, paths or arrays.
        prompt: with `<image>` in it, it is taken literally; without, it is a question, and goes
            through the checkpoint's chat template (or, where it has none, `llava`'s: "USER:
            <image>\n{question} ASSISTANT:"). Without a picture it is taken literally.
        image_token_id: the token that stands for an image position.
        grid_for: the vision tower's patch grid over pixels of (height, width).
        template: a name of `TEMPLATES`, "chat" or "literal" to choose rather than guess.
        max_length: the positions that the decoder has.
        n_class_tokens: positions before the patches of each image (a class token that was kept).
        pad_to_square: pad pictures with the mean colour first, as LLaVA's own code does.

    Raises:
        InputError: markers and pictures that do not match, a picture that cannot be opened, a
            prompt longer than the context.
    """
    requests = _requests(images, prompt)
    marker = image_marker(processor)
    written = [_write(processor, request, template, marker) for request in requests]
    for request, pieces in zip(requests, written, strict=True):
        _check_markers(pieces, len(request.pictures), marker)
    pictures = [picture for request in requests for picture in request.pictures]
    processed = (
        process_pictures(processor.image_processor, pictures, grid_for, pad_to_square=pad_to_square)
        if pictures
        else None
    )
    n_positions = [n_class_tokens + grid.n_patches for grid in (processed.grids if processed else ())]
    rows, first = [], 0
    for request, pieces in zip(requests, written, strict=True):
        counts = n_positions[first : first + len(request.pictures)]
        rows.append(tokenize(processor.tokenizer, pieces, counts, image_token_id))
        first += len(request.pictures)
    _check_lengths(rows, max_length)
    prompts = tuple("".join(piece.text for piece in pieces) for pieces in written)
    return _assemble(rows, processed, pictures, prompts, n_class_tokens, pad_token_id(processor.tokenizer))


def pad_token_id(tokenizer: Tokenizer) -> int:
    """The token for padding; it is masked, so any will do where the checkpoint names none."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id):
        if token is not None:
            return int(token)
    return 0


def _requests(images: Images, prompt: str | Sequence[str]) -> list[_Request]:
    if isinstance(prompt, str):
        return [_Request(prompt, _open_all(images))]
    prompts = list(prompt)
    if not prompts:
        raise InputError("Batch is empty", "at least one prompt", "none")
    if not isinstance(images, list | tuple):
        shown = _open_all(images)
        return [_Request(text, shown) for text in prompts]
    if len(images) != len(prompts):
        raise InputError(
            "Batch does not match", f"images for each of {len(prompts)} prompts", len(images),
            "For several images in one prompt, pass the prompt as a string.",
        )  # fmt: skip
    return [
        _Request(text, _open_all(entry)) for text, entry in zip(prompts, images, strict=True)
    ]  # fmt: skip


def _open_all(images: Any) -> tuple[Image.Image, ...]:
    """The pictures of one row: none, one or several; what is no picture is refused."""
    if images is None:
        return ()
    if isinstance(images, list | tuple):
        return tuple(open_image(image) for image in images)
    return (open_image(images),)


def _write(processor: Processor, request: _Request, template: str | None, marker: str) -> list[Piece]:
    """The prompt as pieces, in the template asked for or the one that fits."""
    n_images = len(request.pictures)
    if template is None:
        is_literal = marker in request.prompt or n_images == 0 or has_role_markers(request.prompt)
        template = "literal" if is_literal else "chat" if has_chat_template(processor) else "llava"
    if template == "literal":
        return pieces_of_literal(request.prompt, marker)
    if template == "chat":
        return pieces_of_chat(processor, request.prompt, n_images)
    return pieces_of_template(template, request.prompt, n_images, marker)


def _check_markers(pieces: Sequence[Piece], n_images: int, marker: str) -> None:
    n_markers = sum(piece.role == "image" for piece in pieces)
    if n_markers == n_images:
        return
    advice = f"Put {marker} where each image belongs"
    if n_images > 1 and n_markers == 1:
        advice += ", or pass a list of prompts for a batch"
    if n_images and n_markers == 0:
        advice += ", or say template='chat' if this is a question for the chat template"
    raise InputError(
        "Images and prompt do not match",
        f"as many {marker} in the prompt as images ({n_images})",
        n_markers,
        advice + ".",
    )


def _check_lengths(rows: Sequence[TokenRow], max_length: int | None) -> None:
    longest = max(len(row.token_ids) for row in rows)
    if min(len(row.token_ids) for row in rows) == 0:
        raise InputError("Prompt is empty", "at least one token", 0)
    if max_length is not None and longest > max_length:
        raise InputError(
            "Prompt is longer than the context", f"at most {max_length} positions", longest,
            "Shorten the prompt or pass fewer images.",
        )  # fmt: skip


def _assemble(
    rows: Sequence[TokenRow],
    processed: ProcessedPictures | None,
    pictures: Sequence[Image.Image],
    prompts: tuple[str, ...],
    n_class_tokens: int,
    pad_token: int,
) -> Inputs:
    length = max(len(row.token_ids) for row in rows)
    padded = [row.padded(length, pad_token) for row in rows]
    spans: list[list[ImageSpan]] = []
    image = 0
    for row in padded:
        spans.append([])
        position = 0
        while "image" in row.roles[position:]:
            assert processed is not None
            start = row.roles.index("image", position)
            spans[-1].append(processed.span(image, start, n_class_tokens))
            position, image = spans[-1][-1].stop, image + 1
    layout = TokenLayout.from_roles([row.roles for row in padded], spans, [row.strings for row in padded])
    return Inputs(
        input_ids=torch.tensor([row.token_ids for row in padded]),
        attention_mask=layout.mask("all").long(),
        pixel_values=processed.pixel_values if processed else None,
        layout=layout,
        images=tuple(pictures),
        prompts=prompts,
    )
