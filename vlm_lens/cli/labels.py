"""`python -m vlm_lens labels --model ...`: what a tokenizer makes of the labels that experiments look for."""

from typing import Annotated

import typer

from vlm_lens.cli.app import app
from vlm_lens.errors import InputError


@app.command()
def labels(
    model: Annotated[str, typer.Option(help="A checkpoint's folder or name; 'demo' is the bundled model.")] = "demo",
    set_: Annotated[str, typer.Option("--set", help="parts, classes, scenes or coco.")] = "parts",
    label: Annotated[list[str] | None, typer.Argument(help="Labels; by default those of --set.")] = None,
) -> None:
    """The tokens that count as each label, and the spellings that the tokenizer splits."""
    from vlm_lens.data.labels import LABEL_SETS, alias_table
    from vlm_lens.experiments import ModelSource

    if set_ not in LABEL_SETS:
        raise InputError("--set", f"one of {', '.join(LABEL_SETS)}", repr(set_))
    tokenizer = ModelSource(model).load().tokenizer
    typer.echo(alias_table(label or LABEL_SETS[set_], tokenizer).to_string(index=False))
