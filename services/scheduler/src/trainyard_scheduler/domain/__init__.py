"""The scheduler's decisions as pure functions: when to train, what to send again, who should be running."""
