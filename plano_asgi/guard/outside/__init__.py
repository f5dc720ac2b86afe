"""Filters that are not ours: servers that are asked over HTTP, and Python of other packages."""
