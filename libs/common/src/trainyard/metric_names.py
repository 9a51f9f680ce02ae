"""The closed list of metrics by name. What each of them is, :mod:`trainyard.metrics` computes."""

#: By task; 'auto' is none of them: the loss that the search minimises, log-loss or squared error.
METRICS = {
    "binary": ("roc_auc", "log_loss", "accuracy", "f1", "balanced_accuracy"),
    "multiclass": ("log_loss", "accuracy", "f1", "balanced_accuracy"),
    "regression": ("rmse", "mae", "r2"),
}
#: Metrics of the class that is decided for, whatever its probability.
OF_DECISIONS = ("accuracy", "f1", "balanced_accuracy")
#: Metrics of which more is better; of all others less is.
HIGHER_IS_BETTER = frozenset({"roc_auc", "r2", *OF_DECISIONS})
