"""From measured values to one self-contained HTML page: no script, style or font from elsewhere."""

import json

import plotly.offline
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vlm_lens.plotting.markup import percent, shown_token
from vlm_lens.plotting.theme import group_colours, template
from vlm_lens.report.data import CaseReport, ReportData
from vlm_lens.report.figures import ReportFigure, measured_figures, picture_figure

LONGEST_SHORT_ANSWER = 3
"""Up to so many words, an answer is told by its first token."""


def render_report(data: ReportData) -> str:
    """The page as text; everything that came from a prompt, a token or a file name is escaped."""
    environment = Environment(
        loader=PackageLoader("vlm_lens.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["token"] = shown_token
    environment.globals["role_colour"] = lambda role: group_colours([role])[0]
    environment.globals["finding"] = finding
    figures = [(case, picture_figure(case), measured_figures(case)) for case in data.cases]
    stored = {
        figure_id(index, figure): figure_values(figure)
        for index, (_, picture, measured) in enumerate(figures)
        for figure in (picture, *measured)
    }
    return environment.get_template("report.html.j2").render(
        data=data,
        figures=figures,
        figure_id=figure_id,
        stored=script_json(stored),
        templates=script_json({"light": template().to_plotly_json(), "dark": template(dark=True).to_plotly_json()}),
        plotly_js=Markup(plotly.offline.get_plotlyjs().replace("</script", "<\\/script")),
    )


def figure_id(case_index: int, figure: ReportFigure) -> str:
    """The name of a figure's element on the page."""
    return f"case-{case_index}-{figure.key}"


def figure_values(figure: ReportFigure) -> dict[str, object]:
    """A figure as plotly.js takes it, without its template: the page brings that, light or dark."""
    values: dict[str, object] = json.loads(figure.figure.to_json())
    layout = values["layout"]
    assert isinstance(layout, dict)
    layout.pop("template", None)
    return values


def script_json(value: object) -> Markup:
    """JSON that can stand inside a script element, whatever strings it holds.

    `<`, `>` and `&` are written as JSON escapes, so that no string can end the element; so is
    everything beyond ASCII.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def finding(case: CaseReport) -> str:
    """What the knockout did, in one sentence: of words lost, or where none is, of the first token's probability."""
    knockout = case.knockout
    what = "the picture" if knockout.is_whole_image else f"the {knockout.n_patches} patches at the object"
    lost = lost_words(case.answer, knockout.from_text.answer)
    if len(case.answer.split()) > LONGEST_SHORT_ANSWER and lost:
        return f"With all text cut off from {what}, the answer no longer says: {', '.join(lost)}."
    token = max(knockout.clean, key=lambda name: knockout.clean[name])
    answer, text = (cut.probabilities[token] for cut in (knockout.from_answer, knockout.from_text))
    sentence = (
        f"“{shown_token(token.strip())}”: {percent(knockout.clean[token])} clean, {percent(answer)} when the answer "
        f"cannot look at {what}, {percent(text)} when no word after the picture can"
    )
    if knockout.control is not None:
        sentence += f", {percent(knockout.control[token])} when those words cannot look at as many other patches"
    return f"{sentence}."


def lost_words(before: str, after: str) -> list[str]:
    """The words of one text that another does not have, in order and once each.

    >>> lost_words("A cat is here. The cat has a tail.", "A dog is here.")
    ['cat', 'The', 'has', 'a', 'tail']
    """
    kept = set(words_of(after))
    return [word for word in dict.fromkeys(words_of(before)) if word not in kept]


def words_of(text: str) -> list[str]:
    """The words of a text without its punctuation."""
    return [word for word in (piece.strip(".,;:!?\"'()") for piece in text.split()) if word]
