"""Prompts as the papers write them: a question in the checkpoint's own form, and the beginning of an answer."""

from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import Inputs
from vlm_lens.inputs.prepare import Images
from vlm_lens.inputs.processors import image_marker
from vlm_lens.inputs.templates import has_chat_template, pieces_of_chat, pieces_of_template


def asked(
    vlm: HookedVLM,
    image: Images,
    question: str,
    *,
    answer: str = "",
    template: str | None = None,
    pad_to_square: bool = False,
) -> Inputs:
    """A picture and a question, the answer perhaps begun: `USER: <image> {question} ASSISTANT: {answer}`.

    Args:
        vlm: whose prompt it is.
        image: the picture.
        question: what is asked.
        answer: how the answer begins: "It is a".
        template: a named one of `vlm_lens.inputs.TEMPLATES`; None for the checkpoint's own, "llava" where it has none.
        pad_to_square: see `HookedVLM.prepare`.
    """
    if template is None and not has_chat_template(vlm.processor):
        template = "llava"
    if not answer:
        return vlm.prepare(image, question, template=template, pad_to_square=pad_to_square)
    marker = image_marker(vlm.processor)
    pieces = (
        pieces_of_chat(vlm.processor, question, 1)
        if template is None
        else pieces_of_template(template, question, 1, marker)
    )
    prompt = "".join(piece.text for piece in pieces)
    begun = f"{prompt}{answer}" if prompt[-1:].isspace() else f"{prompt} {answer}"
    return vlm.prepare(image, begun, template="literal", pad_to_square=pad_to_square)
