"""A computation captured as a CUDA graph: its kernels are recorded once, and launched together from then on.

Not yet timed on a GPU.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vlm_lens.errors import InputError

# The first calls choose kernels and make workspaces, which a graph must find made.
_N_WARM_UP = 2


def captured(compute: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """The same computation as one launch.

    Args:
        compute: reads and writes tensors that stay where they are, and may be run several times. It must ask nothing of
            the host: no `item`, no shape that depends on a value.
        device: where all of it runs.

    Returns:
        A call that runs it on what its tensors hold then, and returns a copy of the result.

    Raises:
        InputError: for a computation that cannot be captured.
    """
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_N_WARM_UP):
                compute()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                result = compute()
        except RuntimeError as error:
            rule, got = "a step that asks nothing of the host", str(error).strip().splitlines()[0].rstrip(".")
            raise InputError("Step cannot be captured as a graph", rule, got, "Leave out static_cache.") from error

    def replay() -> Tensor:
        graph.replay()
        return result.clone()  # the next replay writes over it

    return replay
