"""The one address for everything: sends each path to its service, streaming both ways.

``routes.toml`` here is a link to ``deploy/router/routes.toml``: one file in the repository for this router and for the
compose router, and package data that every kind of installation (editable or a wheel, which holds the content) finds
beside the code.
"""
