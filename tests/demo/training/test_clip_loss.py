"""The contrastive loss with several positives, and the patch loss."""

import math

import torch
from torch.nn import functional

from vlm_lens.demo.training.clip_loss import PatchReader, multi_positive_loss
from vlm_lens.demo.training.pictures import LABEL_SIZES

SCALE = torch.tensor(math.log(10.0))


def test_one_positive_each_is_clips_own_loss() -> None:
    pictures, captions = torch.randn(5, 8), torch.randn(5, 8)
    is_true = torch.eye(5, dtype=torch.bool)
    logits = 10 * functional.normalize(pictures) @ functional.normalize(captions).T
    target = torch.arange(5)
    expected = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
    torch.testing.assert_close(multi_positive_loss(pictures, captions, is_true, SCALE), expected)


def test_several_positives_share_the_target_in_both_directions() -> None:
    pictures, captions = torch.randn(2, 8), torch.randn(3, 8)
    is_true = torch.tensor([[True, True, False], [False, True, False]])
    logits = 10 * functional.normalize(pictures) @ functional.normalize(captions).T
    by_picture, by_caption = logits.log_softmax(1), logits.log_softmax(0)
    expected_pictures = -(by_picture[0, :2].mean() + by_picture[1, 1]) / 2
    # the third caption is true of no picture and asks for nothing
    expected_captions = -(by_caption[0, 0] + by_caption[:, 1].mean()) / 2
    torch.testing.assert_close(
        multi_positive_loss(pictures, captions, is_true, SCALE),
        (expected_pictures + expected_captions) / 2,
    )


def test_the_patch_loss_is_least_for_the_shares_themselves() -> None:
    reader = PatchReader(16)
    shares = torch.zeros(2, 4, sum(LABEL_SIZES), dtype=torch.uint8)
    for start in (0, LABEL_SIZES[0], LABEL_SIZES[0] + LABEL_SIZES[1]):
        shares[..., start + 1] = 255
    wrong = reader(torch.randn(2, 4, 16), shares)
    with torch.no_grad():
        reader.read.weight.zero_()
        reader.read.bias.copy_(shares[0, 0] * 20.0)
    right = reader(torch.randn(2, 4, 16), shares)
    assert right < 1e-3 < wrong
