"""Serves predictions with numpy alone."""
