"""What a report shows, measured already: plain values, no model and no HTML."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vlm_lens.plotting import PatchPicture, TopTokens


@dataclass(frozen=True)
class ModelFacts:
    """The model, in the words of a report's first lines."""

    name: str
    n_parameters: int
    n_layers: int
    n_heads: int
    d_model: int
    n_vision_layers: int
    d_vocab: int


@dataclass(frozen=True)
class PromptPiece:
    """Neighbouring tokens of one role: their text, or for a picture how many there are."""

    role: str
    text: str
    n_tokens: int


@dataclass(frozen=True)
class Proof:
    """What was checked of a knockout after its run, by running it again; had anything been off, there were no report.

    Attributes:
        n_checks: how many checks hold.
        n_runs: how often the run was repeated.
        n_edges: the edges that the mask lacked, and no other, each layer, head and step counted.
        n_layers, n_heads, n_steps: where.
    """

    n_checks: int
    n_runs: int
    n_edges: int
    n_layers: int
    n_heads: int
    n_steps: int


@dataclass(frozen=True, eq=False)
class Cut:
    """A run in which some positions may not attend to some patches.

    Attributes:
        probabilities: of the same first tokens in every run.
        answer: the text generated under the cut.
    """

    probabilities: Mapping[str, float]
    answer: str


@dataclass(frozen=True, eq=False)
class KnockoutOutcome:
    """The answer with and without attention to some patches.

    Attributes:
        n_patches: how many patches were blocked.
        is_whole_image: whether these are all patches, because no object was marked.
        dilation: by how many patches the object's region was grown.
        layers: the window of layers in which the edges were cut.
        n_layers: how many layers the model has.
        clean: the probability of some first tokens in the clean run.
        from_answer: cut for the positions that predict the answer alone.
        from_text: cut for every position after the picture, so that the question cannot pass on what it saw.
        proof: that `from_text` was in force at every step.
        control: as `from_text`, with as many random other patches blocked instead, mean over `n_draws`
            draws; None where the picture has too few other patches.
    """

    n_patches: int
    is_whole_image: bool
    dilation: int
    layers: tuple[int, ...]
    n_layers: int
    clean: Mapping[str, float]
    from_answer: Cut
    from_text: Cut
    proof: Proof
    control: Mapping[str, float] | None
    n_draws: int


@dataclass(frozen=True, eq=False)
class CaseReport:
    """One picture and one question, with everything that was read from the model.

    Attributes:
        title: what the case is called.
        prompt: the prompt as it was given.
        pieces: the prompt's tokens by role, as the model got them.
        picture: what the model saw, with the patches of the object.
        answer: the generated text.
        next_tokens: the most probable first tokens of the answer, [rank].
        streams: the name of each residual stream, from the embedding to the last layer.
        lens: the logit lens over the patches, [stream patch_row patch_col rank].
        targets: for some tokens, their lens probability, [stream patch_row patch_col].
        last_lens: the lens at the last position, [stream rank].
        layers: the name of each layer.
        groups: the groups of positions that share the answer's attention.
        shares: what each group gets, mean over heads, [layer group]; every layer sums to 1.
        attention: what each patch gets, mean over heads, [layer patch_row patch_col].
        knockout: the answer without attention to the object's patches, or to the whole picture.
    """

    title: str
    prompt: str
    pieces: tuple[PromptPiece, ...]
    picture: PatchPicture
    answer: str
    next_tokens: TopTokens
    streams: tuple[str, ...]
    lens: TopTokens
    targets: Mapping[str, Float[np.ndarray, "stream patch_row patch_col"]]
    last_lens: TopTokens
    layers: tuple[str, ...]
    groups: tuple[str, ...]
    shares: Float[np.ndarray, "layer group"]
    attention: Float[np.ndarray, "layer patch_row patch_col"]
    knockout: KnockoutOutcome


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything in one report."""

    title: str
    version: str
    model: ModelFacts
    cases: tuple[CaseReport, ...]
