"""The second paper's mean-ablation table: 18 sets of image tokens, each replaced by one mean."""

import torch

from benchmarks.conditions import Condition, Replaced, thing
from benchmarks.rivals import Ours
from benchmarks.sizes import Sizes
from benchmarks.tasks.task import Task, changed_rows, logits_of, text_of

SHARES = tuple(count / 576 for count in (5, 10, 20, 50, 100, 150, 250))
N_REGISTERS_SHARE = 10 / 576


def mean_ablation(sizes: Sizes) -> Task:
    conditions = rows_of_the_table(sizes)
    what = f"{len(conditions)} sets of image tokens set to one mean; last logits"
    rows = changed_rows(sizes, conditions)
    n = len(conditions)
    return Task("mean ablation", what, conditions, logits_of, Ours.swept_logits, extra_rows=rows, n_unembedded=n)


def mean_ablation_answers(sizes: Sizes) -> Task:
    conditions = rows_of_the_table(sizes)
    return Task(
        "mean ablation, answers",
        f"{len(conditions)} sets of image tokens set to one mean; {sizes.new_tokens} greedy tokens each",
        conditions,
        text_of,
        Ours.swept_text,
        extra_rows=changed_rows(sizes, conditions),
        n_unembedded=len(conditions),
        n_new=sizes.new_tokens,
    )


def rows_of_the_table(sizes: Sizes) -> tuple[Condition, ...]:
    """Object, object+1, object+2, registers, then growing numbers by gradient and at random.

    Which tokens a gradient would choose makes no difference to the work, so a second random order stands for it.
    """
    random = torch.Generator().manual_seed(2)
    registers, gradients, drawn = (torch.randperm(sizes.n_patches, generator=random).tolist() for _ in range(3))
    sets: dict[str, list[int]] = {
        "object": list(thing(sizes)),
        "object+1": list(thing(sizes, 1)),
        "object+2": list(thing(sizes, 2)),
        "register": registers[: _count(sizes, N_REGISTERS_SHARE)],
    }
    for share in SHARES:
        n = _count(sizes, share)
        sets |= {f"gradients, {n} ({share:.1%})": gradients[:n], f"random, {n} ({share:.1%})": drawn[:n]}
    mean = torch.randn(sizes.d_model, generator=random).to(device=sizes.device, dtype=getattr(torch, sizes.dtype))
    return tuple(Condition(name, (Replaced(tuple(sorted(one)), mean),)) for name, one in sets.items())


def _count(sizes: Sizes, share: float) -> int:
    return max(round(share * sizes.n_patches), 1)
