"""Backup and restore of a stack: its database, the objects that this refers to, and its first keys, as one file."""

from trainyard.adapters.backup.restoring import Restored, restore, verify
from trainyard.adapters.backup.stack import Stack, opened
from trainyard.adapters.backup.taking import Taken, take

__all__ = ["Restored", "Stack", "Taken", "opened", "restore", "take", "verify"]
