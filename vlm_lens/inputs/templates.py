"""Prompts as tagged pieces: named templates, chat templates and literal prompts.

Every way of writing a prompt ends in the same thing: pieces of text, each with its role, in which
an image is the piece `<image>`. The roles of tokens are read off these pieces.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlm_lens.errors import InputError
from vlm_lens.inputs.processors import Processor, image_marker
from vlm_lens.layout.roles import Role

V1_SYSTEM_PROMPT = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)


@dataclass(frozen=True)
class Piece:
    """A stretch of the prompt with one role; an image's text is the image marker."""

    text: str
    role: Role


@dataclass(frozen=True)
class Template:
    """A prompt with places for the images and the question.

    `before` and `after` surround the user's turn; inside it stand the images, each followed by
    `after_image`, and then the question.
    """

    before: tuple[Piece, ...] = ()
    after_image: str = "\n"
    after: tuple[Piece, ...] = ()

    def render(self, question: str, n_images: int, marker: str) -> list[Piece]:
        """The pieces for one question; images already marked in the question stay there."""
        pieces = list(self.before)
        if marker not in question:
            for _ in range(n_images):
                pieces += [Piece(marker, "image"), Piece(self.after_image, "question")]
        return [*pieces, *split_images(question, "question", marker), *self.after]


TEMPLATES: dict[str, Template] = {
    # LLaVA-1.5 (Vicuna v1), with its system prompt.
    "v1": Template(
        before=(Piece(V1_SYSTEM_PROMPT + " ", "system"), Piece("USER: ", "role")),
        after=(Piece(" ASSISTANT:", "role"),),
    ),
    # The same without the system prompt: llava-hf's own.
    "llava": Template(
        before=(Piece("USER: ", "role"),), after=(Piece(" ASSISTANT:", "role"),)
    ),
    # LLaVA-Phi-3.
    "phi3": Template(
        before=(Piece("<|user|>\n", "role"),),
        after=(Piece("<|end|>\n<|assistant|>\n", "role"),),
    ),
    # Qwen2 and other ChatML decoders.
    "chatml": Template(
        before=(Piece("<|im_start|>user\n", "role"),),
        after=(Piece("<|im_end|>\n<|im_start|>assistant\n", "role"),),
    ),
    # The image and the words, nothing else.
    "plain": Template(),
}  # fmt: skip

_ROLE_MARKERS = re.compile(
    r"""
    (?P<system> <\|system\|>\n? | <\|im_start\|>system\n? | <<SYS>>\n?
              | <\|start_header_id\|>system<\|end_header_id\|>\n* )
  | (?P<user>   (?<!\w)(?:\#\#\#[ ])?(?:USER|Human):[ ]? | <\|user\|>\n? | <\|im_start\|>user\n?
              | \[INST\][ ]? | <\|start_header_id\|>user<\|end_header_id\|>\n*
              | <start_of_turn>user\n? )
  | (?P<assistant> [ ]?(?<!\w)(?:\#\#\#[ ])?(?:ASSISTANT|Assistant): | <\|assistant\|>\n?
              | <\|im_start\|>assistant\n? | [ ]?\[/INST\]
              | <\|start_header_id\|>assistant<\|end_header_id\|>\n* | <start_of_turn>model\n? )
  | (?P<end>    <\|end\|>\n? | <\|im_end\|>\n? | <\|eot_id\|> | <end_of_turn>\n? | \n?<</SYS>>\n*
              | </s>[ ]? )
    """,
    re.VERBOSE,
)
_ROLE_AFTER: dict[str, Role] = {
    "system": "system", "user": "question", "assistant": "answer", "end": "role",
}  # fmt: skip


def pieces_of_literal(prompt: str, marker: str = "<image>") -> list[Piece]:
    """A prompt taken as it stands, its role markers recognised.

    What follows a user's marker is question, an assistant's answer, a system's system; so is what
    stands before the first marker. A prompt without any marker is question throughout.
    """
    pieces: list[Piece] = []
    matches = list(_ROLE_MARKERS.finditer(prompt))
    role: Role = "system" if matches else "question"
    position = 0
    for match in matches:
        between = prompt[position : match.start()]
        pieces += split_images(between, role if between.strip() else "role", marker)
        pieces.append(Piece(match.group(), "role"))
        role, position = _ROLE_AFTER[str(match.lastgroup)], match.end()
    return [*pieces, *split_images(prompt[position:], role, marker)]


def has_role_markers(prompt: str) -> bool:
    """Whether a prompt is written with role markers, and so meant literally."""
    return _ROLE_MARKERS.search(prompt) is not None


def split_images(text: str, role: Role, marker: str) -> list[Piece]:
    """The text as pieces of one role, with the image markers in it as pieces of their own."""
    parts = re.split(f"({re.escape(marker)})", text)
    return [Piece(part, "image" if part == marker else role) for part in parts if part]


def has_chat_template(processor: Processor) -> bool:
    """Whether the checkpoint says how its prompts are written."""
    return _chat_template_owner(processor) is not None


def pieces_of_chat(processor: Processor, question: str, n_images: int) -> list[Piece]:
    """The question in the checkpoint's own chat template, with the images before it.

    The template is rendered a second time with a marker for the question, which shows what is
    question and what is the template's.

    Raises:
        InputError: the checkpoint has no chat template, or it drops images or the question.
    """
    marker = image_marker(processor)
    placeholder = "\ue000"
    rendered = _render_chat(processor, placeholder, n_images, marker)
    before, found, after = rendered.partition(placeholder)
    n_markers = before.count(marker) + after.count(marker)
    if not found or n_markers != n_images:
        raise InputError(
            "Chat template lost a part of the prompt",
            f"the question and {n_images} x {marker}",
            f"{n_markers} x {marker}" if found else "no question",
            "Pass a literal prompt, or a named template.",
        )
    return [
        *_scaffold(before, marker), Piece(question, "question"), *_scaffold(after, marker)
    ]  # fmt: skip


def pieces_of_template(name: str, question: str, n_images: int, marker: str) -> list[Piece]:
    """The question in a named template.

    Raises:
        InputError: no template of that name.
    """
    if name not in TEMPLATES:
        raise InputError("Unknown template", f"one of {', '.join([*TEMPLATES, 'chat', 'literal'])}", repr(name))
    return TEMPLATES[name].render(question, n_images, marker)


def _scaffold(text: str, marker: str) -> list[Piece]:
    """What a chat template put around the question: role markers, images, perhaps a system."""
    pieces = pieces_of_literal(text, marker)
    if not has_role_markers(text):
        return [piece if piece.role == "image" else Piece(piece.text, "role") for piece in pieces]
    return [
        Piece(piece.text, "role") if piece.role == "answer" else piece for piece in pieces
    ]  # fmt: skip


def _chat_template_owner(processor: Processor) -> Any:
    for owner in (processor, processor.tokenizer):
        if getattr(owner, "chat_template", None):
            return owner
    return None


def _render_chat(processor: Processor, question: str, n_images: int, marker: str) -> str:
    owner = _chat_template_owner(processor)
    if owner is None:
        raise InputError(
            "Prompt cannot be written", "a checkpoint with a chat template", "none",
            "Pass a literal prompt, or a named template.",
        )  # fmt: skip
    content: str | Sequence[dict[str, str]]
    if owner is processor:
        content = [{"type": "image"}] * n_images + [{"type": "text", "text": question}]
    else:
        # A text-only template: the images are markers in the text.
        content = f"{marker}\n" * n_images + question
    conversation = [{"role": "user", "content": content}]
    return str(owner.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False))
