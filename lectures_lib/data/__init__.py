"""Data: the world of scenes, corpora and their downloads, vocabularies, batches."""
