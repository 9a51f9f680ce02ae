"""Trainyard on AWS: templates, what they cost, and the steps that apply them."""
