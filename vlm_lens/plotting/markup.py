"""Text that comes from a prompt or a vocabulary, made safe for a plotly figure.

plotly reads a subset of HTML in titles, tick labels and hover text (`<b>`, `<br>`, `<a href>` ...),
and `%{...}` in templates. A token may hold either; it must be shown, not obeyed.
"""

import html

VISIBLE = {"\n": "⏎", "\t": "⇥", "\r": "␍", "\u2581": "·", "\u0120": "·", "\u010a": "⏎"}
LONGEST_TOKEN = 24


def escaped(text: str) -> str:
    """`text` with its markup shown as text in every place where plotly reads HTML.

    >>> escaped('<b>cat</b>')
    '&lt;b&gt;cat&lt;/b&gt;'
    """
    return html.escape(text, quote=True)


def shown_token(token: str) -> str:
    """A token to be read: a leading space as `·`, control characters by a sign, cut at 24.

    >>> shown_token(' cat'), shown_token(chr(10)), shown_token('')
    ('·cat', '⏎', '∅')
    """
    if token == "":
        return "∅"
    text = "".join(VISIBLE.get(character, character) for character in token)
    text = "".join(character if character.isprintable() else "�" for character in text)
    if text.startswith(" "):
        text = "·" + text[1:]
    return text if len(text) <= LONGEST_TOKEN else text[: LONGEST_TOKEN - 1] + "…"


def token_markup(token: str) -> str:
    """A token, visible and escaped: what goes into a figure."""
    return escaped(shown_token(token))


def percent(probability: float) -> str:
    """A probability in words, where only 0 is `0%` and only 1 is `100%`.

    >>> percent(0.973), percent(0.0004), percent(1e-9), percent(0.9999)
    ('97.3%', '0.04%', '<0.01%', '>99.9%')
    """
    if probability in (0, 1):
        return f"{probability:.0%}"
    if probability < 1e-4:
        return "<0.01%"
    if probability >= 0.9995:
        return ">99.9%"
    return f"{100 * probability:.1f}%" if probability >= 1e-2 else f"{100 * probability:.2f}%"
