"""`python -m vlm_lens labels --model ...`: what a tokenizer makes of the labels that experiments look for."""

from typing import Annotated

import typer

from vlm_lens.cli.app import app


@app.command()
def labels(
    model: Annotated[str, typer.Option(help="A checkpoint's folder or name; 'demo' is the bundled model.")] = "demo",
    label: Annotated[list[str] | None, typer.Argument(help="Labels; by default all that ship.")] = None,
) -> None:
    """The tokens that count as each label, and the spellings that the tokenizer splits."""
    from vlm_lens.data.labels import alias_table, known_labels
    from vlm_lens.experiments.runs.sources import ModelSource

    tokenizer = ModelSource(model).load().tokenizer
    typer.echo(alias_table(label or known_labels(), tokenizer).to_string(index=False))
