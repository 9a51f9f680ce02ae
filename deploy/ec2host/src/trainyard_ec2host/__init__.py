"""Runs a trainer process for each instance an EC2 emulator pretends to run."""
