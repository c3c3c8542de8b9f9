"""The libraries of the optional extra `chat`."""

from importlib import import_module
from typing import Any

from vlm_lens.errors import JudgeError


def chat_library(name: str) -> Any:
    """`openai` or `diskcache`, imported when first needed.

    Raises:
        JudgeError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        advice = "Install the extra: pip install 'vlm-lens[chat]'."
        raise JudgeError("A language model as judge", f"the library {name}", "none", advice) from None
