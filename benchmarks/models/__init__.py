"""How good the models are: ours, FLAML, LightGBM and scikit-learn on public tables, within equal wall-clock budgets."""
