"""Real implementations of the contracts, behind the extras `aws`, `postgres` and `web`."""
