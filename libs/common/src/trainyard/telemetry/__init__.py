"""What the services tell about themselves: metrics and the fields of log lines, each declared once.

``docs/metrics.md`` is generated from here. Imported at a cold start: standard library and msgpack only.
"""
