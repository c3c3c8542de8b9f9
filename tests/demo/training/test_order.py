"""The order of scenes: every scene once an epoch, known from the step alone."""

import numpy as np

from vlm_lens.demo.training.order import scenes_of_step


def test_an_epoch_shows_every_scene_once_and_the_next_in_another_order() -> None:
    first = np.concatenate([scenes_of_step(step, 3, 12, 0)[0] for step in range(4)])
    second = np.concatenate([scenes_of_step(step, 3, 12, 0)[0] for step in range(4, 8)])
    assert sorted(first) == sorted(second) == list(range(12))
    assert first.tolist() != second.tolist()
    assert [scenes_of_step(step, 3, 12, 0)[1] for step in (0, 3, 4)] == [0, 0, 1]


def test_a_pool_smaller_than_a_batch_is_shown_whole() -> None:
    scenes, epoch = scenes_of_step(5, 32, 4, 0)
    assert sorted(scenes) == [0, 1, 2, 3]
    assert epoch == 5
