"""Management commands: `plano_check` and `plano_route`."""
