"""What ingest does, told in terms of the contracts: take rows, take landing files, take feedback, log predictions."""
