"""The command `plano-asgi`.

Data goes to stdout, talk to stderr; exit 0 good, 1 the check failed, 2 usage or configuration.
"""

import sys
from io import TextIOWrapper

from plano_asgi.cli.commands import app
from plano_asgi.errors import CasesError, ConfigurationError, PlanoError

__all__ = ["main"]


def main() -> None:
    """Run the command and exit."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a table's lines and bars are not worth failing for
    try:
        app(prog_name="plano-asgi")
    except (CasesError, ConfigurationError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    except PlanoError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
