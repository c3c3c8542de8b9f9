"""A language model as the judge, behind any endpoint of OpenAI's protocol."""

from vlm_lens.metrics.judges.chat.chat_judge import ChatJudge
from vlm_lens.metrics.judges.chat.client import ChatClient
from vlm_lens.metrics.judges.chat.cost import Cost

__all__ = ["ChatClient", "ChatJudge", "Cost"]
