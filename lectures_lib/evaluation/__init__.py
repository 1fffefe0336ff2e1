"""Evaluation: scores, and the ledger of claims."""

from lectures_lib.evaluation.bleu import Bleu, bleu, by_group, exact_match
from lectures_lib.evaluation.claims import Claim, collect_claims, record_claim, write_ledger
from lectures_lib.evaluation.depth import sequential_depth

__all__ = [
    "Bleu",
    "Claim",
    "bleu",
    "by_group",
    "collect_claims",
    "exact_match",
    "record_claim",
    "sequential_depth",
    "write_ledger",
]
