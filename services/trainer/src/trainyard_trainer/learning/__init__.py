"""From a snapshot to a model: target, encoders, candidates, search, test. Runs in the training child only."""
