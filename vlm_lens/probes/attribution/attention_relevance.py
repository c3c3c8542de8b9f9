"""Attention relevance: attention weighted by its gradient, carried from layer to layer."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from vlm_lens.attachments import Again, Measure
from vlm_lens.attachments.naming.hook_names import hooks_in_layers
from vlm_lens.attachments.naming.towers import Tower, tower_named
from vlm_lens.attachments.running.current_pass import CurrentPass
from vlm_lens.attachments.running.ground import Ground
from vlm_lens.errors import HookError
from vlm_lens.layout import Selector
from vlm_lens.model.two_towers import TwoTowers
from vlm_lens.probes.answer import Target
from vlm_lens.probes.attribution.explained import Explained, check_explained
from vlm_lens.probes.attribution.gradient_at import run_options, with_gradients
from vlm_lens.probes.attribution.patch_attribution import PatchAttribution, pictures_in


@dataclass(frozen=True, eq=False)
class AttentionRelevance(Measure):
    """How relevant each position is to an answer: R = R + mean over heads of (gradient x attention)^+ R, from R = I.

    Only the row of R that is read is kept: the backward pass visits the layers from the last to the first, and each
    layer's pattern and gradient are used and let go as it passes.

    Attributes:
        target: a token as a string (`" Yes"`) or id, several for their mean logit, `{row: target}`, or None: what the
            model itself says. For CLIP, the number of a text.
        against: what is taken off, for a difference of logits.
        tower: "decoder": the row of the position `at`, over patches and text. "vision": CLIP's class token, for the
            similarity of a picture to a text (`HookedCLIP`).
        layers: which layers count; the others are taken as the identity.
        at: the position whose logit is explained, one in each row of the decoder.

    Source: Chefer et al., "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
    Transformers", 2021, equations 5 and 6.

    Example:
        >>> from vlm_lens import AttentionRelevance
        >>> AttentionRelevance(" Yes", layers=range(2, 6))
        AttentionRelevance(target=' Yes', layers=range(2, 6))
    """

    target: Target = None
    against: Target = None
    tower: Literal["decoder", "vision"] = "decoder"
    layers: Any = "all"
    at: Selector = "last"

    def check(self, ground: Ground) -> None:
        """The tower, its layers and the target must exist.

        Raises:
            HookError: a vision tower whose class token answers nothing by itself.
            EmptySelectionError: layers that do not exist.
            InputError: a target that is no token.
        """
        tower = tower_named(ground.model, self.tower)
        hooks_in_layers(tower, "attn.hook_pattern", self.layers, self.on_empty)
        if self.tower == "vision" and not (
            isinstance(ground.model, TwoTowers) and tower.transformer.cfg.has_class_token
        ):
            got = f"a {type(ground.model).__name__}"
            advice = "Use the HookedCLIP model of the same tower, or tower='decoder'."
            raise HookError(f"{self!r}", "a model whose class token answers: HookedCLIP", got, advice)
        check_explained(ground, self, self.target, self.against, self.at)

    def measure(self, again: Again) -> PatchAttribution:
        """The relevance of each position; for padding it is 0."""
        tower = tower_named(again.model, self.tower)
        explained = Explained.of(again, self.target, self.against, self.at)
        sequences = CurrentPass(again.model, again.record.layout, again.record.pictures).sequences(self.tower)
        assert sequences is not None
        read_at = explained.positions or (0,) * sequences.n_rows
        start = torch.nn.functional.one_hot(torch.tensor(read_at), sequences.n_positions).float()
        relevance, answers = self._carried(again, tower, explained, start)
        pictures, row_of = pictures_in(sequences, again.record)
        layout = again.record.layout
        tokens = layout.strings if self.tower == "decoder" and layout is not None else ()
        values = relevance.double().cpu().numpy()
        return PatchAttribution(
            self.label, explained.names, answers.double().cpu().numpy(), values, values, pictures, row_of,
            None, tokens, again.record.images,
        )  # fmt: skip

    def _carried(
        self, again: Again, tower: Tower, explained: Explained, relevance: Float[Tensor, "sequence pos"]
    ) -> tuple[Float[Tensor, "sequence pos"], Float[Tensor, " row"]]:
        """The row that is read, carried down through the layers as the backward pass meets them."""
        row, leaves = [relevance], []

        def carry(pattern: Tensor, gradient: Tensor) -> None:
            weighted = (pattern * gradient).float().clamp(min=0).mean(dim=1)
            above = row[0].to(weighted.device)
            row[0] = above + einsum(above, weighted, "sequence query, sequence query key -> sequence key")

        def watch(pattern: Tensor, hook: Any) -> None:
            pattern.register_hook(partial(carry, pattern.detach()))

        def enter(stream: Tensor, hook: Any) -> Tensor:
            leaves.append(stream.detach().clone().requires_grad_())  # what lies before needs no gradient
            return leaves[0]

        # To be read only would keep the fused path, through which the pattern has no gradient.
        watch.returns_new = enter.returns_new = True  # type: ignore[attr-defined]
        names = hooks_in_layers(tower, "attn.hook_pattern", self.layers, self.on_empty)
        hooks = [(f"{tower.prefix}hook_embed", enter), *((name, watch) for name in names)]
        with with_gradients():
            logits = again(hooks, has_gradient=True, **run_options(again, explained))
            answers = explained.of_logits(logits)
            torch.autograd.grad(answers.sum(), leaves)  # no gradient is left at the weights
        return row[0], answers.detach()
