"""A picture described by the model, under conditions: the prompt of "What's in the image?", and what became of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from vlm_lens.attachments.running.run import GeneratedRun
from vlm_lens.data import Dataset, Example
from vlm_lens.data.selections import listed
from vlm_lens.experiments.context import Context
from vlm_lens.experiments.grid import Grid
from vlm_lens.experiments.options import Options, option
from vlm_lens.experiments.prompts import asked
from vlm_lens.inputs import Inputs
from vlm_lens.sweeps import Generated

_LOGIT_BYTES = 2**30
"""Every condition keeps the logits of its tokens, in fp32: so many of them are run together that this holds them."""


@dataclass(frozen=True)
class DescriptionOptions(Options):
    """What can be chosen about a description."""

    prompt: str = option(
        "Describe this image.",
        "what the model is asked",
        paper=" describe the image",
        quirk="The published words are 'describe the image', in lower case and behind a line break and a space. By "
        "default they are a sentence, and the one that the bundled model was trained on.",
    )
    template: str | None = option(
        None,
        "how the prompt is written: a named template such as v1, or null for the checkpoint's own",
        paper="v1",
        quirk="The prompt is LLaVA's first conversation with its system prompt, whatever the checkpoint's own is. By "
        "default it is the checkpoint's own.",
    )
    pad_to_square: bool = option(
        False,
        "whether the picture is padded to a square with the mean colour first",
        paper=True,
        quirk="LLaVA's own code pads to a square where the checkpoint's processor in transformers crops. By default "
        "pictures are prepared as the checkpoint says.",
    )
    max_new_tokens: int = option(300, "tokens of a description at most", least=1)
    ids: str | None = option(
        None, "a list of pictures that ships: 'whats-in-the-image' for the paper's 81 of COCO; null for all pictures"
    )


def describing(context: Context, example: Example) -> Inputs:
    """A picture and the request to describe it."""
    options = context.options
    return asked(
        context.vlm, example.image, options.prompt, template=options.template, pad_to_square=options.pad_to_square
    )


def continued(options: Any) -> Generated:
    """Greedy text, as long as the options allow."""
    return Generated(max_new_tokens=options.max_new_tokens)


def in_parts(context: Context, grid: Grid) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The conditions of a grid in parts whose logits fit into memory together: names, and what their sweep found."""
    of_one = 4 * context.options.max_new_tokens * len(context.vlm.embed.W_E)
    n_together, names = max(1, _LOGIT_BYTES // of_one), tuple(grid.conditions)
    for start in range(0, len(names), n_together):
        part = names[start : start + n_together]
        yield part, context.sweep(replace(grid, conditions={name: grid.conditions[name] for name in part}))


def text_of(context: Context, run: GeneratedRun | None) -> dict[str, Any]:
    """What was generated, as columns: the text, its tokens, and whether it was cut before its end."""
    assert run is not None, "a sweep that generates"
    tokens = run.tokens[0].tolist()
    return {"text": run.text, "n_tokens": len(tokens), "is_cut": tokens[-1] not in context.vlm.cfg.end_token_ids}


def chosen_pictures(data: Dataset, options: Any) -> Dataset:
    """The pictures of the list that the options name, or all.

    Raises:
        InputError: there is no such list.
    """
    return data if options.ids is None else listed(data, options.ids.replace("-", "_"))
