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
    LensFigures,
    ablation,
    lens_shares,
)
from vlm_lens.demo.scenes import KINDS


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measures on held-out scenes.

    Attributes:
        accuracy: Each figure by its name, in the order of the table.
        ablation: Yes/no without the object's patches.
        lens: Share of object patches at which the lens names the object, by layer.
    """

    accuracy: dict[str, Figure]
    ablation: AblationFigures
    lens: LensFigures


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
        f"Patches of which an object covers at least {LEAST_COVERAGE:.0%}: share at which the logit lens names the "
        f"object, among all tokens and among the {len(KINDS)} kinds (chance there: {1 / len(KINDS):.3f}):",
        "",
        "| after | top of all tokens | 95% interval | N | top of the kinds | 95% interval |",
        "|---|---|---|---|---|---|",
    ]
    for layer, (of_all, of_kinds) in enumerate(zip(evaluation.lens.of_all, evaluation.lens.of_kinds, strict=True)):
        name = "projector" if layer == 0 else f"layer {layer - 1}"
        lines.append(f"| {name} | {_row(of_all)} | {of_kinds.value:.3f} | {of_kinds.low:.3f} to {of_kinds.high:.3f} |")
    return "\n".join(lines) + "\n"


def _row(figure: Figure) -> str:
    return f"{figure.value:.3f} | {figure.low:.3f} to {figure.high:.3f} | {figure.n}"
