"""The text of each token, such that the texts of a row together spell it."""

from collections.abc import Sequence

from vlm_lens.inputs.processors import Tokenizer

# A character of UTF-8 takes at most four bytes, and so at most four byte tokens.
_LONGEST_CHARACTER = 4
_CONTEXT = 3


def piece_strings(tokenizer: Tokenizer, token_ids: Sequence[int], before: Sequence[int] = ()) -> list[str]:
    """The text that each token adds after the tokens before it.

    Where several tokens spell one character, the first has it and the others have "".

    Args:
        tokenizer: decodes the ids.
        token_ids: the tokens.
        before: the tokens that come before them, which decide whether a space is shown.
    """
    context = _context(tokenizer, before)
    ids = [*context, *token_ids]
    pieces = [""] * len(ids)
    # Where the pieces so far begin: decoding starts at one, never inside a character.
    starts: list[int] = []
    start = 0
    for stop in range(1, len(ids) + 1):
        window = starts[-_CONTEXT] if len(starts) >= _CONTEXT else 0
        text = _decode(tokenizer, ids[window:stop])
        is_open = text.endswith("\ufffd") and stop - start < _LONGEST_CHARACTER
        if is_open and stop < len(ids):
            continue
        known = _decode(tokenizer, ids[window:start])
        if text.startswith(known):
            pieces[start] = text[len(known) :]
        else:
            pieces[start] = _decode(tokenizer, ids[start:stop])
        starts.append(start)
        start = stop
    return pieces[len(context) :]


def _context(tokenizer: Tokenizer, before: Sequence[int]) -> list[int]:
    """The last few tokens, from the start of a character on."""
    for n_tokens in range(_CONTEXT, _CONTEXT + _LONGEST_CHARACTER):
        context = list(before[-n_tokens:])
        if "\ufffd" not in _decode(tokenizer, context):
            return context
    return []


def image_piece_strings(tokenizer: Tokenizer, token_ids: Sequence[int], image_token_id: int) -> list[str]:
    """`piece_strings` of a prompt whose images are long runs of one token, each decoded once."""
    # The first token of a run stands for it, so that what follows it is spelled as it is.
    kept = [
        position
        for position, token in enumerate(token_ids)
        if token != image_token_id or position == 0 or token_ids[position - 1] != image_token_id
    ]
    decoded = piece_strings(tokenizer, [token_ids[position] for position in kept])
    strings = [str(tokenizer.convert_ids_to_tokens(image_token_id))] * len(token_ids)
    for position, text in zip(kept, decoded, strict=True):
        if token_ids[position] != image_token_id:
            strings[position] = text
    return strings


def _decode(tokenizer: Tokenizer, token_ids: Sequence[int]) -> str:
    if not token_ids:
        return ""
    return tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
