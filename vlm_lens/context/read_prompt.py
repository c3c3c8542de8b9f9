"""Image re-prompting, its first half: one description, from which contexts of any size are cut."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlm_lens.attachments import Attachment
from vlm_lens.context.compressed_context import CompressedContext, check_windows
from vlm_lens.context.prompt_reader import Layers, PromptRead, PromptReader
from vlm_lens.errors import EmptySelectionError, InputError
from vlm_lens.inputs import Inputs
from vlm_lens.interventions.top_k_context import ORDERS, check_share, kept_tokens, n_kept

DESCRIBE = "describe the image"
"""What a bare picture is asked, as the paper has it."""
LONGEST_DESCRIPTION = 300
VARIANTS = ("both", "query", "image")


@dataclass(frozen=True, eq=False)
class ReadPrompt:
    """A prompt as a model has read and answered it: all that compressed contexts are cut from.

    Attributes:
        model: what read it.
        inputs: one row, without padding.
        description: what was generated.
        ranking: the attention of the rows that predicted it to each image token, mean over steps and heads.
        keys: of the prompt in each layer, rotated.
        values: of the prompt in each layer.
        template: how questions are written; None for the checkpoint's own way.
    """

    model: Any
    inputs: Inputs
    description: str
    ranking: Float[Tensor, "layer image_pos"]
    keys: Layers = field(repr=False)
    values: Layers = field(repr=False)
    template: str | None = None

    def compressed(
        self,
        keep: float = 0.05,
        variant: str = "both",
        *,
        order: str = "top",
        seed: int = 0,
        keeps_bos: bool = True,
    ) -> CompressedContext:
        """What a share of the image tokens leaves; see `compress`.

        Raises:
            InputError: a share outside [0, 1], or so small that no image token would be kept; another variant; a layer
                that gave no image token any attention, so that there is nothing to rank.
            EmptySelectionError: where nothing at all would be kept.
        """
        check_request(keep, variant, order)
        is_kept = self._is_kept(keep, variant, order, seed, keeps_bos)
        n_held = int(is_kept[0].sum())
        if n_held == 0:
            raise EmptySelectionError("Compressed context", "at least one position", "none", "Raise keep.")

        def cut(layers: Layers) -> tuple[Tensor, ...]:
            return tuple(one[is_mine.to(one.device)] for one, is_mine in zip(layers, is_kept, strict=True))

        return CompressedContext(
            self.model, self.inputs, self.description, variant, self.ranking, is_kept,
            cut(self.keys), cut(self.values), self.template,
        )  # fmt: skip

    def _is_kept(self, keep: float, variant: str, order: str, seed: int, keeps_bos: bool) -> Bool[Tensor, "layer pos"]:
        """What each layer keeps: as many positions in every one."""
        layout, n = self.inputs.layout, _n_image_tokens(keep, variant, self.ranking.shape[1])
        text = layout.mask("bos" if keeps_bos else []) if variant == "image" else layout.mask("prompt_text")
        is_kept = text.expand(len(self.ranking), -1).clone()
        if 0 < n < self.ranking.shape[1] and order != "random":
            check_is_ranked(self.ranking)
        is_kept[:, layout.mask("image")[0]] = kept_tokens(self.ranking, n, order, seed)
        return is_kept

    def __repr__(self) -> str:
        n_layers, n_image_tokens = self.ranking.shape
        return f"ReadPrompt({self.inputs.shape[1]} positions, {n_image_tokens} of a picture, {n_layers} layers)"


@torch.no_grad()
def read_prompt(
    vlm: Any,
    inputs: Any,
    *objects: Attachment,
    prompt: str | None = None,
    max_new_tokens: int | None = None,
    template: str | None = None,
) -> ReadPrompt:
    """Generate once, greedily, and keep what contexts of any size can be cut from.

    Args:
        vlm: a `HookedVLM`.
        inputs, objects, prompt, max_new_tokens, template: as `compress`.

    Raises:
        InputError: see `compress`.
    """
    inputs = _one_prompt(vlm, inputs, prompt, template)
    n_positions = inputs.shape[1]
    check_windows(vlm, n_positions)
    if max_new_tokens is None:
        max_new_tokens = max(1, min(LONGEST_DESCRIPTION, vlm.cfg.n_ctx - n_positions))
    reader = PromptReader()
    run = vlm.generate(inputs, *objects, reader, max_new_tokens=max_new_tokens)
    description = run.texts[0] if run.texts else ""
    read: PromptRead = run[reader]
    return ReadPrompt(vlm, inputs, description, read.ranking, read.keys, read.values, template)


def compress(
    vlm: Any,
    inputs: Any,
    *objects: Attachment,
    prompt: str | None = None,
    keep: float = 0.05,
    variant: str = "both",
    order: str = "top",
    seed: int = 0,
    keeps_bos: bool = True,
    max_new_tokens: int | None = None,
    template: str | None = None,
) -> CompressedContext:
    """What is left of a picture once it was described: a context that answers questions without it.

    The description's attention, per layer and as a mean over steps and heads, ranks the image tokens. The context
    holds the keys and values of the prompt's text and, in each layer, of the first `int(keep * n)` image tokens, all
    at their own rotary positions. The description itself is dropped.

    Args:
        vlm: a `HookedVLM`.
        inputs: a picture (or several of one prompt), or `Inputs` of one row.
        objects: interventions in force while the prompt is read and described; probes are read and let go.
        prompt: what the picture is asked; None takes the inputs' own, and "describe the image" for a bare picture.
        keep: the share of the image tokens to keep, 0 to 1; 0 keeps text alone.
        variant: "both" text and image tokens, "query" the text alone, "image" the image tokens alone.
        order: "top"; as controls the least attended ("bottom") or as many drawn at "random", in each layer anew.
        seed: of the random draw.
        keeps_bos: whether the variant "image" keeps the token for the beginning of the sequence. It precedes the
            picture, so that it knows nothing of it, and takes what attention has no place for. The paper leaves this
            open.
        max_new_tokens: the longest description; None for 300, as in the paper, or what the context has room for.
        template: as `HookedVLM.prepare`; questions are then written the same way.

    Raises:
        InputError: several rows, no picture, a share outside [0, 1] or so small that it keeps none, layers whose
            window is shorter than the prompt, or a layer that a knockout kept from the whole picture: nothing ranks
            its image tokens.

    Source: Kaduri, Bagon and Dekel, "What's in the Image? A Deep-Dive into the Vision of Vision Language Models", 2025,
    section 5.
    """
    check_request(keep, variant, order)
    inputs = _one_prompt(vlm, inputs, prompt, template)
    _n_image_tokens(keep, variant, len(inputs.layout.positions("image")))
    read = read_prompt(vlm, inputs, *objects, max_new_tokens=max_new_tokens, template=template)
    return read.compressed(keep, variant, order=order, seed=seed, keeps_bos=keeps_bos)


def _one_prompt(vlm: Any, inputs: Any, prompt: str | None, template: str | None) -> Inputs:
    """One row with a picture, without padding.

    Raises:
        InputError: several rows, no picture, or a new prompt for a picture that is not at hand.
    """
    if not isinstance(inputs, Mapping):
        prepared: Inputs = vlm.prepare(inputs, prompt or DESCRIBE, template=template)
        return prepared
    known: Inputs = vlm.prompts_of(inputs)
    if known.n_rows != 1:
        rule, advice = "one row", "Take one: inputs.row(0)."
        raise InputError("A batch cannot be compressed at once", rule, f"{known.n_rows} rows", advice)
    if not known.layout.images[0]:
        raise InputError("Nothing to compress", "a prompt with a picture", "text alone")
    if prompt is None:
        return known.row(0).to(known.device)
    if not known.images:
        advice = "Give the picture itself."
        raise InputError("Prompt cannot be changed", "inputs with the pictures as opened", "pixels alone", advice)
    changed: Inputs = vlm.prepare(list(known.images), prompt, template=template)
    return changed


def _n_image_tokens(keep: float, variant: str, n_all: int) -> int:
    """How many image tokens each layer keeps.

    Raises:
        InputError: for a share that keeps none, where 0 or the text alone was not what was asked for.
    """
    n = 0 if variant == "query" else n_kept(keep, n_all)
    if keep > 0 and n == 0 and variant != "query":
        advice = "variant='query' keeps the text alone."
        raise InputError("keep leaves no image token", f"0, or at least 1 / {n_all}", keep, advice)
    return n


def check_is_ranked(ranking: Float[Tensor, "layer image_pos"]) -> None:
    """Raise for a layer that looked at no image token.

    Raises:
        InputError: with these layers.
    """
    blind = (~(ranking > 0).any(dim=1)).nonzero().flatten().tolist()
    if blind:
        got = f"none in layer{'s' if len(blind) > 1 else ''} {', '.join(map(str, blind))}"
        advice = "Compress without what blocks it, or take order='random'."
        raise InputError("Nothing ranks the image tokens", "attention to them in every layer", got, advice)


def check_request(keep: float, variant: str, order: str) -> None:
    """Raise for a context that cannot be meant.

    Raises:
        InputError: see `compress`.
    """
    check_share(keep, "keep", with_zero=True)
    for name, value, known in (("variant", variant, VARIANTS), ("order", order, ORDERS)):
        if value not in known:
            raise InputError(name, f"one of {', '.join(known)}", repr(value))
