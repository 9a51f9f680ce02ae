"""The `trainyard` command: one module for each group of commands, on top of the SDK."""
