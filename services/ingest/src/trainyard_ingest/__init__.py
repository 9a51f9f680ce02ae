"""Data front door: datasets, rows, landing files, feedback."""
