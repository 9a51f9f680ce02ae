"""Contributions per feature: what each column of a row adds to the model's score (docs/explanations.md)."""

from trainyard.model.explaining.explainer import Explainer, Explanation

__all__ = ["Explainer", "Explanation"]
