"""The commands: `python -m vlm_lens report`, `demo`, `experiments`, `run`, `labels`."""

import typer

from vlm_lens.cli import experiments, labels, report
from vlm_lens.cli.app import app
from vlm_lens.errors import VlmLensError


def main() -> None:
    """Runs a command; an error of this package is one line and exit code 2."""
    try:
        app()
    except VlmLensError as error:
        typer.echo(" ".join(f"error: {error}".split()), err=True)
        raise SystemExit(2) from None
