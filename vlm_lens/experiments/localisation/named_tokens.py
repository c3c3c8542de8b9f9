"""From an object that a judge found in a text to the positions whose tokens name it."""

from vlm_lens.layout import TokenLayout
from vlm_lens.metrics.judges import Mention, NamedObject
from vlm_lens.metrics.judges.chat.mentions import mentions_of


def positions_of(named: NamedObject, text: str, layout: TokenLayout) -> tuple[int, ...]:
    """The generated positions that spell the words which name an object, all its mentions together; () for none.

    Args:
        named: the object; where the judge does not say where it stands, its name is looked for, then its last word.
        text: what was generated.
        layout: of prompt and generated text.

    Source: "What's in the Image?", 2025, appendix C (there a large language model finds the words).
    """
    positions, strings = layout.positions("generated"), layout.str_tokens()
    spelt = "".join(strings[position] for position in positions)
    start = spelt.find(text)
    mentions = named.mentions
    if start < 0:  # a special token within: what it is spelt by is left out of the text
        start, mentions = 0, _looked_for(phrase_of(named), spelt)
    elif not mentions:
        mentions = _looked_for(named.name, text)
    found, end = [], -start
    for position in positions:
        begin, end = end, end + len(strings[position])
        if any(begin < mention.stop and end > mention.start for mention in mentions):
            found.append(position)
    return tuple(found)


def phrase_of(named: NamedObject) -> str:
    """The words that a description has for an object: its first mention."""
    return named.mentions[0].text if named.mentions else named.name


def _looked_for(words: str, text: str) -> tuple[Mention, ...]:
    return mentions_of(words, text) or mentions_of(words.split()[-1], text)
