"""What ingest knows by itself: reading formats, checking rows, reading labels and records. No I/O of its own."""
