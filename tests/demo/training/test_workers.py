"""Workers take the step that one process alone would take."""

from threading import Thread

import pytest
import torch
from torch import nn

from vlm_lens.demo.training.workers import member, new_meeting, single_worker
from vlm_lens.errors import InputError


def gradients_of(shard: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(shard)
    return [torch.randn(3, 2, generator=generator), torch.randn(4, generator=generator)]


def test_two_workers_average_to_the_gradients_of_one() -> None:
    shapes = [gradient.shape for gradient in gradients_of(0)]
    alone = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for shard in range(4):
        for parameter, gradient in zip(alone, gradients_of(shard), strict=True):
            parameter.grad = gradient + (0 if parameter.grad is None else parameter.grad)
    single_worker(4).average_gradients(alone)

    meeting = new_meeting(2, 100)
    sides = [[nn.Parameter(torch.zeros(shape)) for shape in shapes] for _ in range(2)]

    def work(number: int) -> None:
        worker = member(meeting, number, 4)
        for shard in worker.shards:
            for parameter, gradient in zip(sides[number], gradients_of(shard), strict=True):
                parameter.grad = gradient + (0 if parameter.grad is None else parameter.grad)
        worker.average_gradients(sides[number])

    threads = [Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for side in sides:
        for own, expected in zip(side, alone, strict=True):
            torch.testing.assert_close(own.grad, expected.grad)


def test_more_workers_than_shards_are_refused() -> None:
    with pytest.raises(InputError, match="at most one for each of the 2 shards"):
        member(new_meeting(3, 1), 0, 2)
