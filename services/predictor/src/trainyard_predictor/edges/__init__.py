"""What the predictor touches outside itself: models on the object store, the spool on disk, the queue, metrics."""
