"""Prints the bundled model's figures on held-out scenes: `python -m vlm_lens.demo.evaluate`."""

import argparse
import sys
from pathlib import Path

from vlm_lens.demo.evaluation.figures import as_markdown, evaluate
from vlm_lens.demo.evaluation.loaded import load

WEIGHTS = Path(__file__).parent / "weights"
MODEL_CARD = Path(__file__).parent / "MODEL_CARD.md"
FIGURES_BEGIN, FIGURES_END = "<!-- figures -->", "<!-- end of figures -->"


def write_into_card(card: Path, figures: str) -> None:
    """Puts the figures between the card's two marks."""
    text = card.read_text()
    before, rest = text.split(FIGURES_BEGIN)
    after = rest.split(FIGURES_END)[1]
    unfinished = card.with_suffix(".unfinished")
    unfinished.write_text(f"{before}{FIGURES_BEGIN}\n{figures}{FIGURES_END}{after}")
    unfinished.replace(card)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m vlm_lens.demo.evaluate", description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder with vlm/ and clip/")
    parser.add_argument("--n", type=int, default=500, help="questions or scenes for each figure")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--card", type=Path, help="a model card to write the figures into")
    arguments = parser.parse_args()
    figures = as_markdown(evaluate(load(arguments.weights, arguments.device), arguments.n))
    sys.stdout.write(figures)
    if arguments.card is not None:
        write_into_card(arguments.card, figures)


if __name__ == "__main__":
    main()
