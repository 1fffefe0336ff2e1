"""Evaluation: scores, and the ledger of claims."""

from lectures_lib.evaluation.claims import Claim, collect_claims, record_claim, write_ledger

__all__ = ["Claim", "collect_claims", "record_claim", "write_ledger"]
