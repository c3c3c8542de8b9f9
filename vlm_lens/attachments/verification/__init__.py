"""Proof that a run was what it was asked to be: every writer acted, and nothing else did."""

from vlm_lens.attachments.verification.finding import Finding, Verification
from vlm_lens.attachments.verification.verify import verify

__all__ = ["Finding", "Verification", "verify"]
