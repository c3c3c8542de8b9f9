"""All figures of one evaluation, as text for the terminal and for the model card."""

from dataclasses import dataclass

from vlm_lens.demo.evaluation.accuracy import (
    described,
    what_color,
    what_is_on,
    yes_no,
    zero_shot,
)
from vlm_lens.demo.evaluation.intervals import Figure
from vlm_lens.demo.evaluation.loaded import LoadedModels
from vlm_lens.demo.evaluation.localisation import (
    LEAST_COVERAGE,
    AblationFigures,
    ablation,
    lens_shares,
)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measures on held-out scenes.

    Attributes:
        accuracy: Each figure by its name, in the order of the table.
        ablation: Yes/no without the object's patches.
        lens: Share of object patches whose top token names the object, by layer.
    """

    accuracy: dict[str, Figure]
    ablation: AblationFigures
    lens: list[Figure]


TARGETS: dict[str, float] = {
    "yes/no": 0.95,
    '"What is on the ...?", "It is a"': 0.90,
    "description, F1 over kinds": 0.90,
    "CLIP zero-shot over 14 kinds": 0.90,
}
"""Figures that the model is to reach."""


def evaluate(models: LoadedModels, n: int) -> Evaluation:
    """Measures everything, on n questions or scenes each."""
    descriptions, _ = described(models, n)
    accuracy = {
        "yes/no": yes_no(models, n),
        '"What is on the ...?", "It is a"': what_is_on(models, n),
        "description, F1 over kinds": descriptions["f1"],
        "description, precision": descriptions["precision"],
        "description, recall": descriptions["recall"],
        "CLIP zero-shot over 14 kinds": zero_shot(models, n),
        '"What color is the ...?", "It is"': what_color(models, n),
    }
    return Evaluation(accuracy, ablation(models, n), lens_shares(models, n))


def as_markdown(evaluation: Evaluation) -> str:
    """The figures as the tables of the model card."""
    lines = ["| held-out scenes | figure | 95% interval | N | to reach |", "|---|---|---|---|---|"]
    for name, figure in evaluation.accuracy.items():
        target = f"{TARGETS[name]:.2f}" if name in TARGETS else ""
        lines.append(f"| {name} | {_row(figure)} | {target} |")
    found = evaluation.ablation
    lines += [
        "",
        f'"Is there a X in this image?" where there is one; {found.n_patches:.1f} patches replaced '
        "on average, by the mean embedding at the projector's output:",
        "",
        "| patches replaced | P(Yes) | 95% interval | N | says Yes | 95% interval |",
        "|---|---|---|---|---|---|",
    ]
    names = {
        "intact": "none",
        "object": "the object's, dilated by 1",
        "random": "as many others, random",
    }
    for condition, name in names.items():
        accuracy = found.accuracy[condition]
        lines.append(
            f"| {name} | {_row(found.probability[condition])} "
            f"| {accuracy.value:.3f} | {accuracy.low:.3f} to {accuracy.high:.3f} |"
        )
    lines += [
        "",
        f"Patches of which an object covers at least {LEAST_COVERAGE:.0%}: share whose top token under the logit lens "
        "names the object (chance of one token in the vocabulary is far below 1%):",
        "",
        "| after | share | 95% interval | N |",
        "|---|---|---|---|",
    ]
    for layer, figure in enumerate(evaluation.lens):
        lines.append(f"| {'projector' if layer == 0 else f'layer {layer - 1}'} | {_row(figure)} |")
    return "\n".join(lines) + "\n"


def _row(figure: Figure) -> str:
    return f"{figure.value:.3f} | {figure.low:.3f} to {figure.high:.3f} | {figure.n}"
