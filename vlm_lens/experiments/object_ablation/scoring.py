"""Whether a generated text is right: as it should be read, and as the paper's code reads it."""

from vlm_lens.experiments.object_names import names_of
from vlm_lens.metrics.mentions import mentions
from vlm_lens.metrics.yes_no import yes_or_no


def names_object(prompt: str, answer: str, category: str, rule: str) -> bool:
    """Whether a description names an object.

    Args:
        prompt: what was asked; counts for "as written" alone.
        answer: the description.
        category: the object.
        rule: "words": the answer, in whole words, plural and other words for the object too; "as written": the
            category's letters anywhere in prompt and answer, as the paper's code has it.

    Raises:
        InputError: another rule.
    """
    if rule == "as written":
        return mentions(f"{prompt}{answer}", category, rule)
    names = names_of(category)
    return mentions(answer, category, rule, synonyms=names.synonyms, but_not=names.but_not)


def says_yes(prompt: str, answer: str, rule: str) -> bool:
    """Whether an answer says yes.

    Args:
        prompt: what was asked; counts for "anywhere" alone.
        answer: what was said.
        rule: "words": the answer's first yes or no; "anywhere": the letters in prompt and answer, in any case, as the
            paper's code has it.

    Raises:
        InputError: another rule.
    """
    return yes_or_no(f"{prompt}{answer}" if rule == "anywhere" else answer, rule) == "yes"
