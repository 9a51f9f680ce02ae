"""Contracts every Trainyard service shares."""
