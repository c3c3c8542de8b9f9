"""What a position of the sequence can be."""

from typing import Final, Literal

Role = Literal["pad", "bos", "system", "image", "newline", "question", "role", "answer", "generated"]
"""The role of one position.

`newline` marks the ends of image rows in families that insert them; `role` the markers around a
turn (`USER:`, `<|im_start|>user`, `[/INST]`); `answer` the assistant's own words where the prompt
gives them ("ASSISTANT: It is a"); `generated` the tokens that the model added.
"""

ROLES: Final[tuple[Role, ...]] = (
    "pad", "bos", "system", "image", "newline", "question", "role", "answer", "generated",
)  # fmt: skip
"""Every role; its place here is the number that a layout's `role_ids` hold."""

DERIVED_NAMES: Final[tuple[str, ...]] = (
    "last", "last_row", "text", "prompt", "prompt_text", "predicting", "all",
)  # fmt: skip
"""Names of positions that are not roles: see `TokenLayout.positions`."""

PICTURE_NAMES: Final[tuple[str, ...]] = ("cls", "patches", "image", "last_row", "all")
"""Names of positions in a picture's own sequence; `image` is another word for `patches`."""

ROLE_COLOURS: Final[dict[Role, str]] = {
    "pad": "#f0f0f0", "bos": "#d9c7e8", "system": "#dfe3e8", "image": "#ffe3b3",
    "newline": "#fff3c4", "question": "#c9e4ff", "role": "#e8d9c7", "answer": "#d3efd0",
    "generated": "#b6e3b0",
}  # fmt: skip
"""Backgrounds for black text, the same wherever roles are shown."""
