"""Implementations of the contracts over real services. Each sits behind an extra of this package."""
