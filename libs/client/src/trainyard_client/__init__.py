"""Python SDK and command line of Trainyard."""
