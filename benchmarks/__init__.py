"""Benchmarks: each compares with a peer or a limit in the same run, because only ratios travel between machines."""
