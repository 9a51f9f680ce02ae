"""Claims a training request and turns a snapshot into a version."""
