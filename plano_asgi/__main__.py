"""`python -m plano_asgi`: the same as `plano-asgi`."""

from plano_asgi.cli import main

if __name__ == "__main__":
    main()
