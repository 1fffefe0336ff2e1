"""The systems of the lecture, one file each: a frozen config with `tiny()` and `paper()`, and its modules."""
