"""What is asked of a processor, tokenizer and image processor: their shape, not their class."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Tokenizer(Protocol):
    """A fast tokenizer of transformers, or anything that behaves like one."""

    is_fast: bool
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None

    def __call__(self, text: str, **options: Any) -> Mapping[str, Any]:
        """Token ids, and offsets where `return_offsets_mapping` is asked for."""
        ...

    def decode(self, token_ids: Sequence[int], **options: Any) -> str:
        """The text of several tokens."""
        ...

    def convert_ids_to_tokens(self, ids: Any, **options: Any) -> Any:
        """A token's own name."""
        ...


@runtime_checkable
class ImageProcessor(Protocol):
    """An image processor of transformers: pictures to pixel values."""

    def __call__(self, images: Any, **options: Any) -> Mapping[str, Any]:
        """`pixel_values` of the pictures."""
        ...


@runtime_checkable
class Processor(Protocol):
    """A tokenizer and an image processor together, with a chat template where there is one."""

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        ...

    @property
    def image_processor(self) -> Any:
        """The image processor."""
        ...


def image_marker(processor: Processor) -> str:
    """The text that stands for an image in a prompt."""
    return str(getattr(processor, "image_token", None) or "<image>")
