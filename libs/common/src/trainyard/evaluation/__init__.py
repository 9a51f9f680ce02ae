"""What a version's hold-out tells of it: metrics with intervals, curves, tables, importance, slices. Pure numpy."""

from trainyard.evaluation.contributions import contributions
from trainyard.evaluation.report import FORM, evaluate
from trainyard.evaluation.sample import Sample

__all__ = ["FORM", "Sample", "contributions", "evaluate"]
