"""`python -m vlm_lens experiments` and `python -m vlm_lens run NAME --model ... --data ... --out DIR`."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from vlm_lens.cli.app import app
from vlm_lens.errors import InputError


@app.command()
def experiments(
    name: Annotated[str | None, typer.Argument(help="An experiment, for its options.")] = None,
) -> None:
    """The papers' tables and figures by name, or the options of one of them."""
    from vlm_lens.experiments import experiment_named
    from vlm_lens.experiments import experiments as known

    if name is None:
        width = max(map(len, known()))
        for one in known().values():
            typer.echo(f"{one.name:{width}}  {one.question} ({one.paper}: {one.figures})")
        return
    one = experiment_named(name)
    typer.echo(f"{one.question}\n{one.paper}: {one.figures}\nneeds {one.needs}\n\noptions (--set name=value):")
    for option in fields(one.Options):
        told = option.metadata
        typer.echo(f"  {option.name}={_written(option.default)}: {told['told']}")
        if told["quirk"]:
            typer.echo(f"    --preset paper: {_written(told['paper'])}. {told['quirk']}")


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="The experiment: `python -m vlm_lens experiments` lists them.")],
    out: Annotated[Path, typer.Option(help="The run's folder; the same command goes on where it stopped.")],
    model: Annotated[str, typer.Option(help="A checkpoint's folder or name; 'demo' is the bundled model.")] = "demo",
    data: Annotated[str, typer.Option(help="FORMAT:PLACE,argument=value: coco:/data/coco,split=val2017.")] = "scenes",
    preset: Annotated[
        str, typer.Option(help="default, or paper: the published procedure with its quirks.")
    ] = "default",
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many examples.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="option=value; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn by chance.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes, a GPU each where there are GPUs.")] = 1,
    compare: Annotated[
        bool, typer.Option(help="Hold the first example's sweep against the plain loop, and time both.")
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, auto ...")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16.")] = None,
) -> None:
    """A paper's table or figure, on any model and data: rows, tables and figures in a folder."""
    from vlm_lens.experiments import ModelSource, run_experiment

    source = ModelSource(model, revision, dtype, device)
    result = run_experiment(
        name,
        source,
        data,
        out=out,
        preset=preset,
        limit=limit,
        seed=seed,
        workers=workers,
        compares=compare,
        **_options(set_ or []),
    )
    typer.echo(result.told())
    typer.echo(f"The run is in {out.resolve()}")


def _options(written: list[str]) -> dict[str, Any]:
    """`name=value` as names with values.

    Raises:
        InputError: a piece without an equals sign, or a name twice.
    """
    found: dict[str, Any] = {}
    for piece in written:
        name, equals, value = piece.partition("=")
        if not equals or not name or name in found:
            raise InputError("--set", "option=value, each option once", repr(piece))
        found[name] = value
    return found


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
