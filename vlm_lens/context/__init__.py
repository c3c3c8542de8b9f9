"""What is left of a picture when it is dropped: a prompt's keys and values, and questions asked of them."""

from vlm_lens.context.compressed_context import CompressedContext
from vlm_lens.context.read_prompt import ReadPrompt, compress, read_prompt

__all__ = ["CompressedContext", "ReadPrompt", "compress", "read_prompt"]
