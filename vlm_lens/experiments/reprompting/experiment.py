"""Yes/no questions about a picture that was described once, answered from what a context keeps of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from vlm_lens.context import read_prompt
from vlm_lens.data import Dataset, Example, Question
from vlm_lens.data.mme import PERCEPTION
from vlm_lens.errors import InputError
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.descriptions import DescriptionOptions, chosen_pictures, describing
from vlm_lens.experiments.experiment import Experiment, Rows
from vlm_lens.experiments.options import option
from vlm_lens.experiments.reprompting.findings import findings
from vlm_lens.experiments.reprompting.language_model import NONE, SELF, LanguageModel, language_model_named
from vlm_lens.experiments.reprompting.methods import described_to, from_contexts, method_names, naive
from vlm_lens.experiments.reprompting.table_one import (
    TOKENS,
    averages,
    by_task,
    heading,
    in_order,
    laid_out_as_table_one,
    n_tokens,
    scored,
)
from vlm_lens.experiments.summary import Summary, Table
from vlm_lens.inputs.templates import has_chat_template
from vlm_lens.interventions.top_k_context import n_kept
from vlm_lens.metrics.yes_no import yes_or_no
from vlm_lens.plotting.reprompting_bars import reprompting_bars

RULES = ("words", "first four")
LLM_PROMPT = "Here is a description of an image: {description}\n{question}\nAnswer yes or no."


@dataclass(frozen=True)
class RepromptingOptions(DescriptionOptions):
    """What can be chosen."""

    tasks: tuple[str, ...] = option(PERCEPTION, "which of the data's tasks are asked, of those that it has")
    shares: tuple[float, ...] = option((0.05, 0.02), "of the n image tokens, int(share * n) kept beside the text")
    image_shares: tuple[float, ...] = option((0.02,), "of the image tokens, kept alone")
    keeps_bos: bool = option(
        True, "whether image tokens alone keep the first token, which knows nothing of the picture; the paper is silent"
    )
    reading: str = option(
        "words",
        "how answers are read: 'words' for the first whole word that says yes or no, or the paper's 'first four'",
        paper="first four",
        quirk="'yes' or 'no' is looked for in the first 4 characters, so that 'not' and 'none' are a no and "
        "'There is no dog' is none. By default whole words are read.",
    )
    answer_tokens: int = option(16, "the longest answer; the paper does not say", least=1)
    llm: str = option(NONE, "who reads descriptions: 'none', 'self' for the model's own decoder, 'chat:MODEL@URL'")
    llm_prompt: str = option(LLM_PROMPT, "what it is asked; the paper does not say")


class Reprompting(Experiment):
    """Accuracy on yes/no questions, and the tokens that they take, for contexts cut from one description."""

    name = "reprompting"
    paper = "Kaduri et al. 2025"
    figures = "Table 1"
    question = "How much of a picture must be kept, once it was described, to answer questions about it?"
    needs = "pictures with questions that are answered by yes or no"
    Options = RepromptingOptions

    def chosen(self, data: Dataset, options: Any) -> Dataset:
        """Pictures with a yes/no question of one of the tasks."""
        check_options(options)
        told = f"a yes/no question of the tasks {', '.join(options.tasks)}"
        return chosen_pictures(data, options).where(
            told, lambda example: bool(yes_no_questions(example, options.tasks))
        )

    def facts(self, context: Context) -> Mapping[str, Any]:
        """How many image tokens the first picture has and contexts keep, and who reads descriptions."""
        options, vlm = context.options, context.vlm
        n_image = len(describing(context, context.data[0]).layout.positions("image"))
        shares = sorted({*options.shares, *options.image_shares})
        return {
            "n_layers": vlm.cfg.n_layers,
            "n_image_tokens": n_image,
            "n_kept": {f"{share:.3g}": n_kept(share, n_image) for share in shares},
            "language_model": None if (llm := _language_model(context)) is None else llm.fingerprint(),
            "template": options.template or ("chat" if has_chat_template(vlm.processor) else "llava"),
        }

    def rows(self, context: Context, examples: Sequence[Example]) -> Rows:
        """A row for each method's answer to each question, and one for each description."""
        tables: dict[str, list[dict[str, Any]]] = {"answers": [], "descriptions": []}
        for example in examples:
            description, answers = self._of(context, example)
            tables["descriptions"].append({"example": example.id, "description": description})
            tables["answers"].extend(answers)
        return tables

    def _of(self, context: Context, example: Example) -> tuple[str, list[dict[str, Any]]]:
        vlm, options, image, written = context.vlm, context.options, example.image, _written(context.options)
        asked = yes_no_questions(example, options.tasks)
        questions = [one.text for one in asked]
        first = describing(context, example)
        n_free = vlm.cfg.n_ctx - first.shape[1]
        read = read_prompt(
            vlm, first, max_new_tokens=max(1, min(options.max_new_tokens, n_free)), template=options.template
        )
        said = naive(vlm, image, questions, options.answer_tokens, **written)
        if (language_model := _language_model(context)) is not None:
            said += described_to(language_model, read.description, questions, options.llm_prompt)
        said += from_contexts(
            read, questions, options.shares, options.image_shares, options.answer_tokens, options.keeps_bos
        )
        answers = []
        for number, one in enumerate(said):
            question = asked[number % len(asked)]
            says = yes_or_no(one.text, options.reading)
            answers.append(
                {"example": example.id, "task": question.task, "question": question.text, "answer": question.answer,
                 "method": one.method, "said": one.text, "says": says,
                 "is_right": says == question.answer.casefold(), "n_held": one.n_held, "n_new": one.n_new}
            )  # fmt: skip
        return read.description, answers

    def summarised(self, rows: Mapping[str, pd.DataFrame], options: Any, facts: Mapping[str, Any]) -> Summary:
        """Table 1, the averages as bars, and four claims."""
        answers = rows["answers"]
        if answers.empty:
            raise InputError("Answers to yes/no questions", "at least one", "none", "Choose other tasks or data.")
        scores, tokens = scored(answers), n_tokens(answers)
        in_tasks, over_tasks = in_order(by_task(scores), options.tasks), averages(scores)
        figures = pd.concat([in_tasks, over_tasks], ignore_index=True)
        methods = method_names(options.shares, options.image_shares)
        n = answers.groupby("task", sort=False)["example"].nunique()
        told = f"N = {answers['example'].nunique()} pictures: " + ", ".join(f"{heading(t)} {k}" for t, k in n.items())
        layout = laid_out_as_table_one(figures, tokens, methods)
        return Summary(
            {
                "table 1": Table(
                    pd.concat([figures, tokens], ignore_index=True), layout,
                    "ACC (questions answered right) and ACC+ (pictures of which every question is), per cent, with "
                    "intervals over pictures; the average is over tasks of the same weight. #Tokens: positions that "
                    f"answer a question in each layer, the question's own included. {told}.",
                ),
            },
            {"averages": partial(reprompting_bars, over_tasks, tokens[tokens["measure"] == TOKENS], methods)},
            findings(scores, tokens, options.shares, options.image_shares, options.llm),
            _notes(answers, rows["descriptions"], options, facts),
        )  # fmt: skip


def yes_no_questions(example: Example, tasks: Sequence[str]) -> list[Question]:
    """A picture's questions of some tasks whose answer is yes or no."""
    known = {task.casefold() for task in tasks}
    return [
        one for one in example.questions
        if one.task.casefold() in known and one.answer.casefold() in ("yes", "no")
    ]  # fmt: skip


def check_options(options: RepromptingOptions) -> None:
    """Raise for options that mean nothing.

    Raises:
        InputError: a reading that does not exist, a prompt without places, no task.
    """
    if options.reading not in RULES:
        raise InputError("Option 'reading'", f"one of {', '.join(RULES)}", repr(options.reading))
    if missing := [place for place in ("{description}", "{question}") if place not in options.llm_prompt]:
        raise InputError("Option 'llm_prompt'", "places {description} and {question}", f"no {missing[0]}")


def _language_model(context: Context) -> LanguageModel | None:
    found: LanguageModel | None = context.once(
        "language model", lambda: language_model_named(context.vlm, context.options)
    )
    return found


def _written(options: RepromptingOptions) -> dict[str, Any]:
    return {"template": options.template, "pad_to_square": options.pad_to_square}


def _notes(
    answers: pd.DataFrame, descriptions: pd.DataFrame, options: RepromptingOptions, facts: Mapping[str, Any]
) -> tuple[str, ...]:
    unread = answers[answers["says"].isna()].groupby("method", sort=False).size()
    counts = answers.groupby(["example", "task"])["question"].nunique()
    kept = ", ".join(f"{float(share):.0%} is {n}" for share, n in facts["n_kept"].items())
    notes = [
        f"Of {facts['n_image_tokens']} image tokens int(share * n) are kept in each layer: {kept}.",
        "The description is dropped: contexts hold keys and values of the prompt alone, at their own rotary positions, "
        "and a question begins behind the whole prompt. Both presets do so.",
        f"Prompts are written by the template {facts['template']!r}; descriptions have "
        f"{descriptions['description'].str.split().str.len().mean():.1f} words on average.",
        _told_of_language_model(options.llm),
    ]
    if len(unread):
        told = ", ".join(f"{method} {n}" for method, n in unread.items())
        notes.append(f"Answers that say neither yes nor no count as wrong: {told}.")
    if other := int((counts != 2).sum()):
        notes.append(f"{other} times a picture has another number of questions of a task than two; ACC+ asks for all.")
    return tuple(notes)


def _told_of_language_model(llm: str) -> str:
    if llm == NONE:
        return "Describe-to-LLM was not run: no language model is given (--set llm=chat:MODEL@URL, or llm=self)."
    if llm == SELF:
        return (
            "Describe-to-LLM is not the paper's GPT-4: the model's own decoder reads its description as text, without "
            "a picture. A decoder that was trained with pictures alone need not understand it."
        )
    return f"Describe-to-LLM asks {llm.removeprefix('chat:')}; tokens are those of the describing model's tokenizer."
