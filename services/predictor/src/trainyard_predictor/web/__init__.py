"""The predictor over HTTP: a gunicorn worker with an event loop, and nothing between it and the handler."""
