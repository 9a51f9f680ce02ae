"""Every limit of a body of rows, in one place (docs/formats.md has the table). Those of CSV are in csv_blocks."""

from __future__ import annotations

#: Largest body as sent, in bytes; ``TRAINYARD_MAX_UPLOAD_BYTES`` may say less.
MAX_STREAM_BYTES = 4 << 30
MAX_JSON_BYTES = 64 << 20
#: Largest sample for a schema.
MAX_SAMPLE_BYTES = 8 << 20

#: Longest line of NDJSON, and longest row of a JSON array, in bytes.
MAX_JSON_ROW_BYTES = 1 << 20
MAX_JSON_KEYS = 2_000

#: gzip: most bytes that a body may unpack to, and how many times the packed bytes they may be once they are more than
#: the floor. Tables shrink to a fifth or a tenth; 100 takes a file of almost nothing but repetition.
MAX_UNPACKED_BYTES = 4 << 30
MAX_UNPACKED_RATIO = 100
UNPACKED_FLOOR_BYTES = 16 << 20

#: Parquet: what the footer may claim.
MAX_FOOTER_BYTES = 4 << 20
MAX_ROW_GROUPS = 10_000
MAX_ROWS = 50_000_000
MAX_PARQUET_COLUMNS = 1_000
#: Most entries of one list in the footer, as its parser counts them: schema elements, row groups, columns.
MAX_FOOTER_ENTRIES = 20_000
#: Memory that decoding may take beside the decoder itself, and the processor time of all of it.
MAX_DECODER_BYTES = 192 << 20
MAX_DECODER_SECONDS = 900
