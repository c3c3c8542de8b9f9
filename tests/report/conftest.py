"""Synthetic measurements: every text in them is hostile markup."""

import numpy as np
import pytest
import torch

from vlm_lens import HookedVLM
from vlm_lens.demo.architecture import build_processor, new_llava
from vlm_lens.demo.examples import ExampleScene, example_scenes
from vlm_lens.demo.text import corpus
from vlm_lens.demo.tokenizer import build_tokenizer
from vlm_lens.plotting import PatchPicture, TopTokens
from vlm_lens.report import CaseReport, Cut, KnockoutOutcome, ModelFacts, PromptPiece, Proof, ReportData

HOSTILE = "</script><script>document.title='pwned'</script><b>bold</b>"
HOSTILE_TOKEN = "<b>x</b>"


def synthetic_case(prompt: str, *, has_region: bool) -> CaseReport:
    """A case of 3 layers and 4 x 4 patches."""
    rng = np.random.default_rng(len(prompt))
    words = np.array([HOSTILE_TOKEN, " cat", "\n", " a"])
    region = np.zeros((4, 4), dtype=bool)
    region[1:3, 1:3] = True
    tokens = words[rng.integers(0, 4, size=(4, 4, 4, 3))]
    tokens[:, 0, 0] = [HOSTILE_TOKEN, " cat", " a"]
    probabilities = np.sort(rng.dirichlet(np.ones(3), size=(4, 4, 4)))[..., ::-1].copy()
    last = TopTokens(np.tile(words[:3], (4, 1)), np.tile([0.6, 0.3, 0.1], (4, 1)))
    values = {HOSTILE_TOKEN: 0.6, " cat": 0.3, "\n": 0.1}
    return CaseReport(
        title=f"case {prompt}",
        prompt=prompt,
        pieces=(
            PromptPiece("bos", "<s>", 1),
            PromptPiece("image", "", 16),
            PromptPiece("question", prompt, 5),
        ),
        picture=PatchPicture(
            rng.integers(0, 256, size=(32, 32, 3), dtype=np.uint8),
            4,
            4,
            region if has_region else None,
        ),
        answer=prompt,
        next_tokens=last[-1],
        streams=("embed", "0", "1", "2"),
        lens=TopTokens(tokens, probabilities),
        targets={HOSTILE_TOKEN: rng.random((4, 4, 4))},
        last_lens=last,
        layers=("0", "1", "2"),
        groups=("bos", "question", "image"),
        shares=rng.dirichlet(np.ones(3), size=3),
        attention=rng.random((3, 4, 4)) / 16,
        knockout=KnockoutOutcome(
            n_patches=16,
            is_whole_image=not has_region,
            dilation=1,
            layers=(0, 1, 2),
            n_layers=3,
            clean=values,
            from_answer=Cut(values, prompt),
            from_text=Cut({HOSTILE_TOKEN: 0.1, " cat": 0.8, "\n": 0.1}, prompt),
            proof=Proof(8, 3, 1234, 3, 2, 1),
            control=values if has_region else None,
            n_draws=4,
        ),
    )


@pytest.fixture
def report_data() -> ReportData:
    """Two cases, with and without an object."""
    return ReportData(
        title=HOSTILE,
        version="0",
        model=ModelFacts(HOSTILE, 1_000_000, 3, 2, 16, 2, 100),
        cases=(
            synthetic_case(HOSTILE, has_region=True),
            synthetic_case("Is there a cat?", has_region=False),
        ),
    )


@pytest.fixture(scope="session")
def vlm() -> HookedVLM:
    """The demo's architecture with random weights, sharpened so that heads differ and edges matter."""
    tokenizer = build_tokenizer(corpus())
    model = new_llava(tokenizer, seed=0).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
                weight *= 4
    return HookedVLM.from_hf(model, build_processor(tokenizer))


@pytest.fixture(scope="session")
def scene() -> ExampleScene:
    """A scene with a subject."""
    return example_scenes()[0]
