"""From what a processor itself returned to `Inputs`."""

from collections.abc import Mapping, Sequence

from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.errors import InputError
from vlm_lens.inputs.entries import entries_of
from vlm_lens.inputs.inputs import Inputs
from vlm_lens.inputs.pictures import GridFor, ProcessedPictures, fingerprint
from vlm_lens.inputs.pieces import image_piece_strings
from vlm_lens.inputs.processors import ImageProcessor, Tokenizer
from vlm_lens.inputs.rows import offsets_of, roles_at
from vlm_lens.inputs.templates import pieces_of_literal
from vlm_lens.layout import ImageSpan, PixelGeometry, TokenLayout, geometry_of
from vlm_lens.layout.pixel_geometry import Size
from vlm_lens.layout.roles import Role


def inputs_from_mapping(
    mapping: Mapping[str, object],
    *,
    image_token_id: int,
    grid_for: GridFor,
    tokenizer: Tokenizer | None = None,
    image_processor: ImageProcessor | None = None,
    original_sizes: Sequence[Size] | None = None,
    max_length: int | None = None,
    n_class_tokens: int = 0,
) -> Inputs:
    """`input_ids`, `attention_mask` and `pixel_values` as a processor returns them.

    Padding may be on either side. With a tokenizer, roles and texts are read from the decoded
    tokens; without, every token but image and padding is question. With `original_sizes`, (height,
    width) of each picture, and the image processor, regions can be made from pixel masks; without,
    from patch masks only.

    Raises:
        InputError: missing, unknown or misshapen entries, image tokens that do not match the
            patch grid, pixels without tokens or the reverse, a row longer than the context.
    """
    input_ids, attention_mask, pixels = entries_of(mapping, max_length)
    processed = _processed(pixels, grid_for, image_processor, original_sizes)
    is_image = (input_ids == image_token_id) & (attention_mask != 0)
    spans = _spans(is_image, processed, n_class_tokens)
    strings = [_strings(row, tokenizer, image_token_id) for row in input_ids.tolist()]
    roles = [
        _roles(ids, row_strings, is_real, tokenizer, image_token_id)
        for ids, row_strings, is_real in zip(input_ids.tolist(), strings, (attention_mask != 0).tolist(), strict=True)
    ]
    return Inputs(
        input_ids,
        attention_mask,
        None if processed is None else processed.pixel_values,
        TokenLayout.from_roles(roles, spans, strings),
    )


def _processed(
    pixels: Float[Tensor, "image channel height width"] | None,
    grid_for: GridFor,
    image_processor: ImageProcessor | None,
    original_sizes: Sequence[Size] | None,
) -> ProcessedPictures | None:
    if pixels is None:
        return None
    n_images, _, height, width = pixels.shape
    geometries: list[PixelGeometry | None] = [None] * n_images
    if original_sizes is not None:
        if image_processor is None or len(original_sizes) != n_images:
            raise InputError(
                "Original sizes cannot be used", f"an image processor and {n_images} sizes",
                f"{type(image_processor).__name__} and {len(original_sizes)} sizes",
            )  # fmt: skip
        known = [geometry_of(image_processor, (int(h), int(w))) for h, w in original_sizes]
        for geometry in known:
            if geometry.model_size != (height, width):
                raise InputError(
                    "Original size does not lead to pixel_values", f"{height} x {width} pixels",
                    f"{geometry.original} which becomes {geometry.model_size}",
                    "Sizes are (height, width).",
                )  # fmt: skip
        geometries = list(known)
    return ProcessedPictures(
        pixels,
        (grid_for((height, width)),) * n_images,
        tuple(geometries),
        tuple(
            fingerprint(p.detach().cpu().float().numpy().tobytes(), p.shape) for p in pixels
        ),
    )  # fmt: skip


def _spans(
    is_image: Bool[Tensor, "batch pos"],
    processed: ProcessedPictures | None,
    n_class_tokens: int,
) -> list[list[ImageSpan]]:
    """The images of each row: runs of image tokens, cut into as many as each picture takes."""
    n_images = 0 if processed is None else processed.pixel_values.shape[0]
    n_tokens = int(is_image.sum())
    if processed is None or n_images == 0:
        if n_tokens:
            raise InputError("Image tokens without an image", "pixel_values", f"{n_tokens} image tokens")
        return [[] for _ in is_image]
    grid = processed.grids[0]
    per_image = n_class_tokens + grid.n_patches
    spans: list[list[ImageSpan]] = []
    image = 0
    for row in is_image.tolist():
        spans.append([])
        for start, length in _runs(row):
            if length % per_image or image + length // per_image > n_images:
                raise _count_error(processed, n_class_tokens, n_images, n_tokens, length)
            for offset in range(0, length, per_image):
                spans[-1].append(processed.span(image, start + offset, n_class_tokens))
                image += 1
    if image != n_images:
        raise _count_error(processed, n_class_tokens, n_images, n_tokens, n_tokens)
    return spans


def _runs(row: Sequence[bool]) -> list[tuple[int, int]]:
    """(start, length) of each run of True."""
    runs: list[tuple[int, int]] = []
    for position, is_inside in enumerate(row):
        if is_inside and runs and sum(runs[-1]) == position:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        elif is_inside:
            runs.append((position, 1))
    return runs


def _count_error(
    processed: ProcessedPictures, n_class_tokens: int, n_images: int, n_tokens: int, length: int
) -> InputError:
    grid = processed.grids[0]
    rule = f"{grid.n_rows} x {grid.n_cols}" + (f" + {n_class_tokens}" if n_class_tokens else "")
    per_image = grid.n_patches + n_class_tokens
    if n_images == 1:
        expected, got = f"{rule} = {per_image}", f"{n_tokens}"
    else:
        expected = f"{n_images} images of {rule} = {per_image}"
        got = f"{n_tokens} in all" + (f", {length} in one place" if length % per_image else "")
    return InputError(
        "Image token count does not match the patch grid", expected, got,
        "Pass the processor's input_ids unmodified.",
    )  # fmt: skip


def _strings(token_ids: Sequence[int], tokenizer: Tokenizer | None, image_token_id: int) -> list[str]:
    if tokenizer is None:
        return [""] * len(token_ids)
    return image_piece_strings(tokenizer, token_ids, image_token_id)


def _roles(
    token_ids: Sequence[int],
    strings: Sequence[str],
    is_real: Sequence[bool],
    tokenizer: Tokenizer | None,
    image_token_id: int,
) -> list[Role]:
    bos = None if tokenizer is None else tokenizer.bos_token_id
    is_text = [real and token not in (image_token_id, bos) for token, real in zip(token_ids, is_real, strict=True)]
    texts = [text if kept else "" for text, kept in zip(strings, is_text, strict=True)]
    tagged = roles_at(pieces_of_literal("".join(texts)), offsets_of(texts))
    roles: list[Role] = []
    for position, token in enumerate(token_ids):
        if not is_real[position]:
            roles.append("pad")
        elif token == image_token_id:
            roles.append("image")
        elif token == bos:
            roles.append("bos")
        else:
            roles.append(tagged[position] if texts[position] else "question")
    return roles
