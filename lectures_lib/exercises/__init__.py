"""Answer checkers: each compares an answer with the truth and, where it can, says what the mistake is."""
