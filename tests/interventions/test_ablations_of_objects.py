"""On the bundled model: an object at the mean is gone, as many random patches at the mean change nothing."""

from dataclasses import dataclass

import pytest
import torch

from vlm_lens import HookedVLM, Inputs
from vlm_lens.demo.examples import ExampleScene, example_scenes
from vlm_lens.estimates import Mean, MeanEstimator
from vlm_lens.interventions import MeanAblation, NoiseAblation, ResampleAblation
from vlm_lens.layout import Region


@dataclass
class Shown:
    """A scene, a question whose answer is Yes, and where the answer comes from."""

    vlm: HookedVLM
    inputs: Inputs
    subject: Region

    def p_yes(self, *objects: MeanAblation | NoiseAblation | ResampleAblation) -> float:
        tokens = [self.vlm.to_single_token(" Yes"), self.vlm.to_single_token(" No")]
        return float(self.vlm.run(self.inputs, *objects).logits[0, -1, tokens].softmax(dim=-1)[0])


SCENES = example_scenes()


@pytest.fixture(scope="module")
def vlm() -> HookedVLM:
    return HookedVLM.demo()


@pytest.fixture(scope="module")
def mean(vlm: HookedVLM) -> Mean:
    return MeanEstimator(vlm).estimate([one.scene.image for one in SCENES], shows_progress=False)


@pytest.fixture(scope="module", params=["cat on the bed", "cow in a meadow"])
def shown(vlm: HookedVLM, request: pytest.FixtureRequest) -> Shown:
    example: ExampleScene = next(one for one in SCENES if one.name == request.param)
    inputs = vlm.prepare(example.scene.image, example.turn.question)
    assert example.subject is not None
    return Shown(vlm, inputs, inputs.layout.region(example.subject.mask).dilate(1))


def test_the_object_at_the_mean_is_no_longer_seen_and_random_patches_are_not_missed(shown: Shown, mean: Mean) -> None:
    assert shown.p_yes() > 0.95
    assert shown.p_yes(MeanAblation(shown.subject, mean)) < 0.3
    elsewhere = ~shown.subject
    for seed in range(3):
        random = elsewhere.sample(min(len(shown.subject), len(elsewhere)), seed)
        assert shown.p_yes(MeanAblation(random, mean)) > 0.9


def test_the_mean_equals_that_of_the_projector_run_by_hand(vlm: HookedVLM, mean: Mean) -> None:
    with torch.no_grad():
        rows = [vlm.encode_images(vlm.prepare(one.scene.image, "What?").pixel_values)[0] for one in SCENES]
    plain = torch.cat(rows).double()
    # Pictures one by one and six together: fp32 sums in another order, of activations up to 50.
    torch.testing.assert_close(mean.value, plain.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mean.variance(), plain.var(dim=0), rtol=1e-4, atol=1e-5)
    assert mean.n() == 6 * 144
