"""The proof of a run: it is repeated under the same objects, watched, and tried with noise."""

import warnings
from collections.abc import Sequence
from math import inf
from typing import Any

from torch import Tensor

from vlm_lens.attachments.attachment import Attachment, Writer
from vlm_lens.attachments.edge_blocker import EdgeBlocker
from vlm_lens.attachments.naming.towers import towers_of
from vlm_lens.attachments.position_writer import PositionWriter
from vlm_lens.attachments.running.record import Record
from vlm_lens.attachments.verification.asked import AskedMasks
from vlm_lens.attachments.verification.consequence import IS_DEAD_END, ConsequenceProof, Sums, looks_with_noise_read
from vlm_lens.attachments.verification.finding import Finding, Verification, check_within, title_of
from vlm_lens.attachments.verification.masks import TOLERANCES, MaskProof
from vlm_lens.attachments.verification.noise import NoiseProof
from vlm_lens.attachments.verification.replay import Replay
from vlm_lens.attachments.verification.writers import NoiseBefore, WriterProof, same_numbers
from vlm_lens.errors import VerificationError

_WRITTEN_OUT = ("hook_attn_scores", "hook_pattern")


def verify(model: Any, session: Any, record: Record) -> Verification:
    """Prove that every writer of a run acted as it says, and that nothing else touched an attention mask.

    Everything that was attached during the run is attached again. A run without cached keys and values is proved in
    its last step, which runs all positions.

    Args:
        model: what ran.
        session: what was attached.
        record: the run.

    Raises:
        VerificationError: with the object, the hook, the step and the figure.

    Warns:
        UserWarning: of a writer that changes nothing that reaches the result.
    """
    replay = Replay(model, record)
    attached = _attached(session, record)
    writers = [one for one in attached if isinstance(one, Writer)]
    proof = _Proof(model, replay, writers)
    skipped = [one for one in attached if any(one is other for other in (*record.skipped, *proof.clean.skipped))]
    findings = [proof.is_the_run(record), *proof.masks(), *proof.writers()]
    findings += [
        Finding(title_of(one), "skipped: there is nothing here that it could act on") for one in _once(skipped)
    ]
    for one in proof.dead_ends:
        warnings.warn(f"{one!r} {IS_DEAD_END} (of logits, those of the last position).", stacklevel=4)
    order = [title_of(one) for one in _once(attached)]
    findings.sort(key=lambda one: order.index(one.object) if one.object in order else -1)
    return Verification(tuple(findings), replay.n_runs)


class _Proof:
    """The first replay, watched, and what is tried after it."""

    def __init__(self, model: Any, replay: Replay, writers: Sequence[Writer]) -> None:
        self.model, self.replay, self.all_writers = model, replay, tuple(writers)
        skipped = replay.skipped(self.all_writers)
        self.active = [one for one in _once(writers) if not any(one is other for other in skipped)]
        self.dead_ends: list[Writer] = []
        self.mask_proofs = self._mask_proofs()
        self.watch, self.consequence = WriterProof(), ConsequenceProof(model)
        pairs = [one.looks() for one in self.mask_proofs]
        first, last = ([look for pair in pairs for look in pair[side]] for side in (0, 1))
        if self._position_writers():
            last = [*last, *self.consequence.looks()]
        self.clean = replay(self.all_writers, self.watch, first, last)
        for one in self.mask_proofs:
            one.forget()

    def is_the_run(self, record: Record) -> Finding:
        """The replay gives what the run gave."""
        if not record.ends and self.clean.ends:
            advice = (
                "Prove a run by vlm.run, with logits; conditions of a sweep are compared by vlm.sweep(verify=True)."
            )
            raise VerificationError("Replay", "a run whose last result was kept", "none", advice)
        advice = "Something else stood at the model then, its weights have changed, or a writer is random."
        if len(record.ends) != len(self.clean.ends):
            raise VerificationError("Replay", f"{len(record.ends)} results", len(self.clean.ends), advice)
        n_wrong = sum(int((~end.isfinite()).sum()) for end in record.ends if end.is_floating_point())
        if n_wrong:
            raise VerificationError("Result of the run", "finite values", f"{n_wrong} that are NaN or infinite")
        deviation = distance(record.ends, self.clean.ends)
        tolerance = max((TOLERANCES[end.dtype] for end in record.ends), default=0.0)
        check_within("Replay of the run", "the run's own result", deviation, tolerance, advice)
        n = sum(end.numel() for end in record.ends)
        check = "repeated with everything attached, it gives the same result"
        return Finding("run", check, n_steps=record.n_steps, n_covered=n, unit="values", deviation=deviation,
                       tolerance=tolerance)  # fmt: skip

    def masks(self) -> list[Finding]:
        """What blockers did."""
        self._check_fired()
        findings = [finding for one in self.mask_proofs for finding in one.findings()]
        noises = [NoiseProof(one) for one in self.mask_proofs]
        for number in range(max((one.n_rounds for one in noises), default=0)):
            pairs = [one.looks(number) for one in noises]
            first, last = ([look for pair in pairs for look in pair[side]] for side in (0, 1))
            ends = self.replay(self.all_writers, None, first, last).ends
            # Were the noise to get any further than the results that are set back, later layers would be tried in vain.
            check_within(
                "Noise in blocked values", "a result that it does not reach", distance(ends, self.clean.ends), 0.0
            )
        return findings + [finding for one in noises for finding in one.findings()]

    def writers(self) -> list[Finding]:
        """What the other writers did, and how far every writer moved the result."""
        findings = [finding for one in self.active if (finding := self.watch.finding(one)) is not None]
        overwriting = [one for one in self._position_writers() if one.overwrites]
        if overwriting:
            findings += self._overwritten(overwriting)
        for one in self._position_writers():
            sums: Sums = {}
            ends = self.replay(self.all_writers, None, (), self.consequence.looks_with_noise(one, sums)).ends
            is_moved = distance(ends, self.clean.ends) > 0.0 if ends else None
            findings.append(self.consequence.finding(one, sums, is_moved))
            self.dead_ends += [one] if is_moved is False else []
        return findings + [self._moved(one) for one in self.active]

    def _overwritten(self, writers: list[PositionWriter]) -> list[Finding]:
        """Nothing of what stood there before is left: noise in its place changes no result."""
        is_written_out = any(name.endswith(_WRITTEN_OUT) for one in writers for name in one.hook_names(self.model))
        tolerance = 1e-6 if is_written_out else 0.0
        deviation = self._with_noise_before(writers)
        if not deviation <= tolerance:
            one = next((one for one in writers if not self._with_noise_before([one]) <= tolerance), writers[0])
            advice = "Say `overwrites = False` in the class of a writer whose values depend on what stood there."
            check_within(repr(one), "noise in the place of what it replaces to change no result", deviation, tolerance,
                         advice)  # fmt: skip
        check = "noise in the place of what it replaces changes no result"
        n = sum(end.numel() for end in self.clean.ends)
        return [
            Finding(title_of(one), check, n_steps=self.clean.n_steps, n_covered=n, unit="values", deviation=deviation,
                    tolerance=tolerance)
            for one in writers
        ]  # fmt: skip

    def _with_noise_before(self, writers: list[PositionWriter]) -> float:
        return distance(self.replay(self.all_writers, NoiseBefore(writers)).ends, self.clean.ends)

    def _moved(self, one: Writer) -> Finding:
        """How far a writer moves the result; a figure, not a condition."""
        others = [other for other in self.all_writers if other is not one]
        moved = distance(self.replay(others).ends, self.clean.ends)
        n = sum(end.numel() for end in self.clean.ends)
        check = "without it, the result is so far off, of the largest value of either"
        if n and self._is_dead_end(one, moved):
            self.dead_ends.append(one)
            noise = "noise in what its queries read leaves every bit of it; " if isinstance(one, EdgeBlocker) else ""
            check = f"{IS_DEAD_END}: {noise}without it, that is so far off, of the largest value of either"
        return Finding(title_of(one), check, n_steps=self.clean.n_steps, n_covered=n, unit="values", deviation=moved,
                       tolerance=None)  # fmt: skip

    def _is_dead_end(self, one: Writer, moved: float) -> bool:
        """Whether nothing that a blocker's queries read, or another writer changed, reaches the result."""
        if isinstance(one, PositionWriter):
            return False  # `ConsequenceProof` tells
        if not isinstance(one, EdgeBlocker):
            return moved == 0.0
        # Without a blocker another kernel may run, and the last bits differ; noise runs the same one.
        if moved > max(TOLERANCES[end.dtype] for end in self.clean.ends):
            return False
        (proof,) = (proof for proof in self.mask_proofs if id(one) in proof.edges)
        if not proof.edges[id(one)].n:
            return False  # a finding tells that it names no edge
        ends = self.replay(self.all_writers, None, (), looks_with_noise_read(one, proof)).ends
        return distance(ends, self.clean.ends) == 0.0

    def _check_fired(self) -> None:
        for one in self.active:
            if id(one) not in self.watch.fired:
                names = one.hook_names(self.model)
                raise VerificationError(f"{one!r} was never called", f"one of its {len(names)} hooks to fire", "none")

    def _mask_proofs(self) -> list[MaskProof]:
        blockers = [one for one in self.active if isinstance(one, EdgeBlocker)]
        names = [name for one in self.active if not isinstance(one, EdgeBlocker) for name in one.hook_names(self.model)]
        rewritten = {f"{name.rpartition('.')[0]}.hook_pattern" for name in names if name.endswith(_WRITTEN_OUT)}
        rewritten |= {name for name in names if name.endswith("hook_mask")}
        given = self.replay.record.options.get("attention_mask")
        return [
            MaskProof(
                AskedMasks(tower, tuple(one for one in blockers if one.tower_name == name), given),
                rewritten,
                name == "decoder" and bool(self.replay.record.tokens),
            )
            for name, tower in towers_of(self.model).items()
        ]

    def _position_writers(self) -> list[PositionWriter]:
        return [one for one in self.active if isinstance(one, PositionWriter)]


def distance(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """The largest difference between the results of two runs, of the largest value of either.

    Returns:
        0.0 only for the same numbers; infinite where one alone is no number.
    """
    largest = 0.0
    for one, other in zip(some, others, strict=True):
        differs = ~same_numbers(one, other)
        if bool(differs.any()):
            difference = (one.double() - other.double()).abs()[differs].nan_to_num(nan=inf).max()
            scale = max(float(each.double().abs().nan_to_num(posinf=0.0).max()) for each in (one, other))
            largest = max(largest, float(difference) / scale if scale else inf)
    return largest


def _attached(session: Any, record: Record) -> list[Attachment]:
    """Everything that stood at the model during the run, in the order in which it was attached."""
    sessions = list(record.beside)
    if not any(one is session for one in sessions):
        sessions.append(session)
    return [one for each in sessions for one in each.objects]


def _once(objects: Sequence[Any]) -> list[Any]:
    return list({id(one): one for one in objects}.values())
