"""`python -m vlm_lens report IMAGE --prompt ...` and `python -m vlm_lens demo`."""

from pathlib import Path
from typing import Annotated

import typer

from vlm_lens.cli.app import app
from vlm_lens.errors import InputError

BUNDLED = "the bundled model"


@app.command()
def report(
    image: Annotated[Path, typer.Argument(help="A picture file.")],
    prompt: Annotated[
        str, typer.Option(help="A question, or a literal prompt with <image> in it.")
    ] = "Describe this image.",
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    model: Annotated[
        str | None, typer.Option(help="A checkpoint's folder or name; by default the bundled model.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="A lossless picture of the same size: the object is what is not black.")
    ] = None,
    word: Annotated[
        list[str] | None, typer.Option(help="A word whose lens probability gets a map; may be repeated.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Where attention is cut: '3', '1,4' or '15-24'; by default everywhere.")
    ] = None,
    dilation: Annotated[
        int, typer.Option(min=0, help="By how many patches the object grows before it is cut off.")
    ] = 1,
    top_k: Annotated[int, typer.Option(min=1, max=20, help="How many tokens the lens keeps.")] = 5,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest answer, in tokens.")] = 60,
    template: Annotated[
        str | None, typer.Option(help="A named prompt template; by default the checkpoint's own.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16.")] = None,
) -> None:
    """One picture and one question: lens, attention and knockout, as one HTML file."""
    from vlm_lens.demo import vlm_folder
    from vlm_lens.hooked_vlm import HookedVLM
    from vlm_lens.report import Question, make_report, read_mask

    pixels = None if mask is None else read_mask(mask)
    chosen = None if layers is None else parse_layers(layers)
    vlm = HookedVLM.from_pretrained(
        vlm_folder() if model is None else model,
        device=device,
        dtype="float32" if model is None and dtype is None else dtype,
    )
    path = make_report(
        vlm,
        [Question(image.name, image, prompt, pixels, tuple(word or ()))],
        out,
        title=image.name,
        model_name=BUNDLED if model is None else model,
        layers=chosen,
        dilation=dilation,
        top_k=top_k,
        max_new_tokens=max_new_tokens,
        template=template,
    )
    typer.echo(f"The report is in {path.resolve()}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("out"),
) -> None:
    """The bundled model on bundled scenes and a photograph, as one HTML file."""
    from vlm_lens.hooked_vlm import HookedVLM
    from vlm_lens.report import bundled_questions, make_report

    path = make_report(
        HookedVLM.demo(),
        bundled_questions(),
        out / "report.html",
        title="A small vision-language model, seen from inside",
        model_name=BUNDLED,
    )
    typer.echo(f"The report is in {path.resolve()}")


def parse_layers(text: str) -> tuple[int, ...]:
    """Layers as a person writes them: numbers and ranges with both ends in, between commas.

    >>> parse_layers("3"), parse_layers("0, 4-6")
    ((3,), (0, 4, 5, 6))

    Raises:
        InputError: anything else.
    """
    layers: list[int] = []
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError("--layers", "numbers and ranges such as 3, '1,4' or 15-24", repr(text))
        layers += range(int(first), int(last or first) + 1)
    if not layers:
        raise InputError("--layers", "ranges whose first layer is not above the last", repr(text))
    return tuple(layers)
