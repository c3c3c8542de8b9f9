"""The paper's prompt: the task in steps, three evaluated examples, and the two captions.

Source: "What's in the Image?", 2024, figure A2. Of its three examples one is published. There the horses stand among
the true positives as well as the false negatives, and the bike among neither. Here the first example is that one, put
right, with the other caption's word in brackets, so that a reply says which objects are partners. A paragraph about the
form of the lists is ours too, and so are the other two examples.
"""

import hashlib
import re
from functools import cache
from pathlib import Path

PROMPT = Path(__file__).parent / "prompt.txt"


@cache
def template() -> str:
    """The prompt with two places for captions."""
    return PROMPT.read_text(encoding="utf-8").rstrip()


def prompt_for(reference: str, candidate: str) -> str:
    """The prompt about two captions. Line breaks in a caption become blanks, so that it cannot look like a heading."""
    captions = {"GROUNDTRUTH_CAPTION_HERE": reference, "PREDICTED_CAPTION_HERE": candidate}
    return re.sub("|".join(captions), lambda found: " ".join(captions[found[0]].split()), template())


def prompt_digest() -> str:
    """16 hexadecimal digits of the prompt."""
    return hashlib.sha256(template().encode()).hexdigest()[:16]
