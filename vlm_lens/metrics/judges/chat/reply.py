"""The judge's reply, read strictly: five lists, and two fractions that agree with them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlm_lens.errors import JudgeError

_HEADINGS = {
    "groundtruth": r"Visual Elements in (?:the )?Groundtruth Caption",
    "predicted": r"Visual Elements in (?:the )?Predicted Caption",
    "lost": r"Details[^\n]*?\(False Negatives\)",
    "invented": r"Details[^\n]*?\(False Positives\)",
    "matched": r"Details[^\n]*?\(True Positives\)",
}
_END = r"(?:^\W*(?:Precision|Recall)\b.*)|(?:^\W*Overall\b.*)"
_FRACTION = r"{name}\s*=\s*(\d+)\s*/\s*\(?\s*(\d+)\s*(?:\+\s*(\d+)\s*)?\)?"
_NOTHING = ("none", "none.", "n/a", "")


@dataclass(frozen=True)
class Verdict:
    """What a reply says.

    Attributes:
        reference: the elements of the first caption.
        candidate: those of the second.
        matched: pairs of them.
    """

    reference: tuple[str, ...]
    candidate: tuple[str, ...]
    matched: tuple[tuple[str, str], ...]


def read_reply(reply: str) -> Verdict:
    """A reply as lists; the first heading may be missing, since the prompt ends with it.

    Raises:
        JudgeError: a list or fraction is missing, an element stands nowhere or twice, or the counts do not agree.
    """
    lists = _lists(reply)
    reference, candidate = _elements(lists["groundtruth"]), _elements(lists["predicted"])
    lost = [_known(name, reference, "the groundtruth list") for name in _split(lists["lost"])]
    invented = [_known(name, candidate, "the predicted list") for name in _split(lists["invented"])]
    matched = _pairs(_split(lists["matched"]), reference, candidate, invented)
    _check_partition("groundtruth", list(reference), lost, [one for one, _ in matched])
    _check_partition("predicted", list(candidate), invented, [other for _, other in matched])
    _check_fraction(reply, "Precision", len(matched), len(invented))
    _check_fraction(reply, "Recall", len(matched), len(lost))
    pairs = tuple((reference[one], candidate[other]) for one, other in matched)
    return Verdict(tuple(reference.values()), tuple(candidate.values()), pairs)


def _lists(reply: str) -> dict[str, str]:
    """The text under each heading, up to the next one, a note or the fractions."""
    text = reply.replace("**", "").replace("__", "")
    found = {name: re.search(rf"{pattern}\s*:", text, re.IGNORECASE) for name, pattern in _HEADINGS.items()}
    starts = {name: one.start() for name, one in found.items() if one}
    ends = {name: one.end() for name, one in found.items() if one}
    if "groundtruth" not in starts:
        starts["groundtruth"], ends["groundtruth"] = 0, 0
    order = [starts.get(name) for name in _HEADINGS]
    missing = [name for name, start in zip(_HEADINGS, order, strict=True) if start is None]
    if missing or order != sorted(start for start in order if start is not None):
        raise _malformed(
            "all five lists, in the order of the examples", f"no list: {', '.join(missing)}" if missing else "others"
        )
    bounds = [*order[1:], len(text)]
    told = {name: text[ends[name] : stop] for name, stop in zip(_HEADINGS, bounds, strict=True)}
    cut = rf"(?ms)(?:^\W*Note that\b.*)|{_END}"
    return {name: re.sub(cut, "", one) for name, one in told.items()}


def _split(text: str) -> list[str]:
    pieces = re.split(r"[,\n;]", text)
    names = (re.sub(r"^[\s*•\-–]*(?:\d+[.)]\s*)?", "", piece).strip().rstrip(".") for piece in pieces)
    return [name for name in names if name.lower() not in _NOTHING]


def _key(name: str) -> str:
    return re.sub(r"^(?:the|a|an)\s+", "", " ".join(name.lower().split()))


def _elements(text: str) -> dict[str, str]:
    names = _split(text)
    known = {_key(name): _key(name) for name in names}
    if len(known) != len(names):
        raise _malformed("each element once in its list", ", ".join(names))
    return known


def _known(name: str, elements: Mapping[str, str], where: str) -> str:
    key = _key(name)
    if key not in elements:
        raise _malformed(f"elements of {where} ({', '.join(elements) or 'none'})", repr(name))
    return key


def _pairs(
    names: Sequence[str], reference: Mapping[str, str], candidate: Mapping[str, str], invented: Sequence[str]
) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    alone = []
    for name in names:
        bracket = re.fullmatch(r"(.+?)\s*\((.+)\)", name)
        if _key(name) in reference and _key(name) in candidate:
            pairs.append((_key(name), _key(name)))
        elif bracket and _key(name) not in reference:
            one = _known(bracket[1], reference, "the groundtruth list")
            pairs.append((one, _known(bracket[2], candidate, "the predicted list")))
        else:
            alone.append(_known(name, reference, "the groundtruth list"))
    left = [other for other in candidate if other not in invented and other not in {other for _, other in pairs}]
    if alone and not (len(alone) == len(left) == 1):
        raise _malformed("the predicted caption's word in brackets", ", ".join(alone))
    return pairs + list(zip(alone, left, strict=True)) if alone else pairs


def _check_partition(name: str, elements: list[str], unmatched: list[str], matched: list[str]) -> None:
    both = set(unmatched) & set(matched)
    neither = [element for element in elements if element not in unmatched and element not in matched]
    if both or neither or len(set(unmatched)) != len(unmatched):
        told = ", ".join((*sorted(both), *neither)) or ", ".join(unmatched)
        raise _malformed(f"each element of the {name} list once, matched or not", told)


def _check_fraction(reply: str, name: str, n_matched: int, n_unmatched: int) -> None:
    found = re.search(_FRACTION.format(name=name), reply.replace("**", ""), re.IGNORECASE)
    expected = f"{name} = {n_matched} / ({n_matched} + {n_unmatched})"
    if found is None:
        raise _malformed(expected, f"no {name.lower()}")
    total = int(found[2]) + int(found[3] or 0)
    if (int(found[1]), total) != (n_matched, n_matched + n_unmatched):
        raise _malformed(expected, found[0])


def _malformed(expected: str, got: str) -> JudgeError:
    return JudgeError("Evaluation of two captions", expected, got)
