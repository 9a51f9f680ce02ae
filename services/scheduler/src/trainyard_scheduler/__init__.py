"""Decides when to train, owns requests, versions, aliases and the fleet."""
