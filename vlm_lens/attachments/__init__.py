"""What attaches to a model while it runs: the base of every intervention and every probe."""

from vlm_lens.attachments.attachment import Attachment, Read, Reader, Writer
from vlm_lens.attachments.edge_blocker import EdgeBlocker
from vlm_lens.attachments.here import Here
from vlm_lens.attachments.measure import Measure
from vlm_lens.attachments.position_writer import PositionWriter
from vlm_lens.attachments.running.again import Again
from vlm_lens.attachments.running.generates_attached import GeneratesAttached
from vlm_lens.attachments.running.record import Record
from vlm_lens.attachments.running.run import GeneratedRun, Run
from vlm_lens.attachments.running.runs import Runs
from vlm_lens.attachments.running.session import Session

__all__ = [
    "Again", "Attachment", "EdgeBlocker", "GeneratedRun", "GeneratesAttached", "Here", "Measure", "PositionWriter",
    "Read", "Reader", "Record", "Run", "Runs", "Session", "Writer",
]  # fmt: skip
