"""The outside of pull sources: which addresses may be connected to, files over HTTPS, tables of other databases."""
