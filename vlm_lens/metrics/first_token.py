"""Whether the one token that a model would say next begins the right answer."""

from vlm_lens.errors import InputError
from vlm_lens.metrics.words import is_form_of, words_of

FIRST_TOKEN_RULES = ("words", "prefix")
SPACE_MARKS = "▁Ġ"
"""How SentencePiece and byte-level vocabularies write the space before a word."""


def begins_answer(token: str, answer: str, first_piece: str, rule: str = "words") -> bool:
    """Whether a token begins the answer: "It is a" is followed by " gir" for "giraffe".

    "words" asks for the answer's first word, whole and in either number, or, where the tokenizer has no token for that
    word, for exactly the first of its pieces. A token without a letter or digit is never right.

    "prefix" is the rule of Neo et al.'s code: the first SentencePiece piece of the answer starts with the stripped
    token. An empty token (a space, a line break) is a beginning of everything and counts as right, and so does "b" for
    "bear".

    Args:
        token: the arg-max token as text: " gir".
        answer: "giraffe", "teddy bear".
        first_piece: the first piece of the answer as the tokenizer writes it behind a space: "▁gir".
        rule: "words" or "prefix".

    Raises:
        InputError: another rule, or an answer or piece without a word.

    Source: "Towards Interpreting Visual Information Processing in Vision-Language Models", 2024, section 3.

    Example:
        >>> begins_answer(" gir", "giraffe", "▁gir"), begins_answer(" g", "giraffe", "▁gir")
        (True, False)
        >>> begins_answer(" ", "giraffe", "▁gir"), begins_answer(" ", "giraffe", "▁gir", "prefix")
        (False, True)
    """
    if rule not in FIRST_TOKEN_RULES:
        raise InputError("Rule for a first token", f"one of {', '.join(FIRST_TOKEN_RULES)}", repr(rule))
    said, piece = token.lstrip(SPACE_MARKS).strip(), first_piece.lstrip(SPACE_MARKS).strip()
    words = words_of(answer)
    if not words or not piece:
        raise InputError("Answer of one token", "at least one word and its first piece", f"{answer!r}, {first_piece!r}")
    if rule == "prefix":
        return piece.startswith(said)
    spoken = words_of(said)
    if len(spoken) != 1:
        return False
    return is_form_of(spoken[0], words[0]) or said.lower() == piece.lower()
