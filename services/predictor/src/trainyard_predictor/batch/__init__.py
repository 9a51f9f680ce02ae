"""Batch jobs: a file is scored in chunks, its state on the object store and nowhere else (docs/batch.md).

``intake`` makes jobs, ``work`` brings them on; ``job`` is what both know of one, ``jobs`` where it is kept.
"""
