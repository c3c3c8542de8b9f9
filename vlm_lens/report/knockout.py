"""The answer without some edges of attention: from the text, or from the answer alone, to some patches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments import GeneratedRun
from vlm_lens.errors import InputError
from vlm_lens.hooked_vlm import HookedVLM
from vlm_lens.inputs import Inputs
from vlm_lens.interventions import AttentionKnockout
from vlm_lens.layout import Region, Selector
from vlm_lens.probes.token_names import token_names
from vlm_lens.report.data import Cut, KnockoutOutcome, Proof

N_CONTROL_DRAWS = 4

FROM_ANSWER = "predicting"
"""The rows that produce the answer."""
FROM_TEXT = ["text", "predicting"]
"""Every word. Those before the picture never saw it; the answer's first row may be the picture's own last."""


def probabilities_of(logits: Float[Tensor, "d_vocab"]) -> Float[Tensor, "d_vocab"]:
    """What a token is chosen from, in fp32."""
    return logits.float().softmax(dim=-1).cpu()


@dataclass(frozen=True, eq=False)
class Knockout:
    """Some patches of one input, cut off from the positions behind them.

    Attributes:
        vlm: the model.
        inputs: one row.
        region: the patches that are no longer seen.
        layers: where.
        max_new_tokens: the longest answer.
    """

    vlm: HookedVLM
    inputs: Inputs
    region: Region
    layers: tuple[int, ...]
    max_new_tokens: int

    def cut(self, queries: Selector) -> GeneratedRun:
        """The answer with the region cut off at every step."""
        return self.vlm.generate(self.inputs, self._from(queries, self.region), max_new_tokens=self.max_new_tokens)

    def control(self) -> list[Float[Tensor, "d_vocab"]]:
        """The first token's probabilities with other patches cut off from all text, draw by draw; [] if too few."""
        runs = (self.vlm.run(self.inputs, self._from(FROM_TEXT, draw)) for draw in control_draws(self.region))
        return [probabilities_of(run.logits[0, -1]) for run in runs]

    def outcome(self, clean: Float[Tensor, "d_vocab"], *, is_whole_image: bool, dilation: int) -> KnockoutOutcome:
        """Both cuts and the control.

        Args:
            clean: the probabilities of the clean run.
            is_whole_image: whether the region is the whole picture for want of an object.
            dilation: by how many patches the region had been grown.

        Raises:
            VerificationError: should a word have seen what was cut off from all text.
        """
        answer_run, text_run = self.cut(FROM_ANSWER), self.cut(FROM_TEXT)
        answer, text = (probabilities_of(run.logits[0, 0]) for run in (answer_run, text_run))
        draws = self.control()
        best = [token for run in (clean, answer, text) for token in run.topk(2).indices.tolist()]
        ids = list(dict.fromkeys(best))
        names = token_names(self.vlm, ids)

        def values(run: Float[Tensor, "d_vocab"]) -> dict[str, float]:
            return {name: float(run[token]) for name, token in zip(names, ids, strict=True)}

        return KnockoutOutcome(
            n_patches=len(self.region),
            is_whole_image=is_whole_image,
            dilation=dilation,
            layers=self.layers,
            n_layers=self.vlm.cfg.n_layers,
            clean=values(clean),
            from_answer=Cut(values(answer), answer_run.text),
            from_text=Cut(values(text), text_run.text),
            proof=proof_of(text_run),
            control=values(torch.stack(draws).mean(dim=0)) if draws else None,
            n_draws=len(draws),
        )

    def _from(self, queries: Selector, keys: Selector) -> AttentionKnockout:
        return AttentionKnockout(queries, keys, layers=list(self.layers))


def proof_of(run: GeneratedRun) -> Proof:
    """What was checked by running a knockout again.

    Raises:
        VerificationError: should the model have seen what was cut off.
    """
    proof = run.verify()
    edges = next(one for one in proof.of(*run.objects) if one.unit == "edges")
    return Proof(len(proof), proof.n_runs, edges.n_covered, edges.n_layers, edges.n_heads, edges.n_steps)


def control_draws(cut: Region) -> list[tuple[int, ...]]:
    """Positions of as many patches outside the region, drawn at random with a fixed seed; [] if too few."""
    others = np.array((~cut).positions, dtype=np.int64)
    if len(others) < len(cut):
        return []
    random = np.random.default_rng(0)
    draws = [random.choice(others, size=len(cut), replace=False) for _ in range(N_CONTROL_DRAWS)]
    return [tuple(int(position) for position in np.sort(draw)) for draw in draws]


def checked_layers(layers: Sequence[int] | None, n_layers: int) -> tuple[int, ...]:
    """The layers in which edges are cut, ascending.

    Raises:
        InputError: none, or one that the model does not have.
    """
    chosen = tuple(range(n_layers)) if layers is None else tuple(sorted(set(layers)))
    if not chosen or chosen[0] < 0 or chosen[-1] >= n_layers:
        got = "none" if not chosen else ", ".join(map(str, chosen))
        raise InputError("Layers of the knockout", f"some of 0 to {n_layers - 1}", got)
    return chosen
