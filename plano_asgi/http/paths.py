"""Where a request is for, as the app sees it."""

from starlette.types import Scope


def path_in_app(scope: Scope) -> str:
    """Return the decoded path less `root_path`."""
    path: str = scope["path"]
    root = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path
