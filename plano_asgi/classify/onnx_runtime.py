"""The one door to ONNX Runtime; its telemetry stays off.

From 1.29 on its builds report sessions to their maker over the network, unless a variable is set before the first
import. The thread that would report also makes a forked worker of a preloading server abort when it ends.
"""

import os
from typing import Any, Final

from plano_asgi.errors import MissingExtraError

_SWITCH: Final = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime(*, needed_for: str) -> Any:  # noqa: ANN401 - it has no types
    """Return the module `onnxruntime`, imported with its telemetry off unless the host's environment says otherwise.

    Args:
        needed_for: The setting that asks for it.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ.setdefault(_SWITCH, "1")
    try:
        import onnxruntime  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise MissingExtraError("cpu", needed_for=needed_for) from None
    return onnxruntime
