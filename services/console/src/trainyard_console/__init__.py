"""Pages for people: the whole loop at a glance."""
