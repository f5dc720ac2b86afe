"""The one error family. A message says what, where and what to do next; it never holds a key or a prompt.

```text
PlanoError
├── ConfigurationError (ValueError)     start-up: every fault of a configuration, at once
├── MissingExtraError (ImportError)     start-up: an optional package is not installed
├── ArtifactError                       start-up: a model file on disk
│   ├── ArtifactNotFoundError (FileNotFoundError)
│   └── ArtifactIntegrityError (OSError)
├── CallError                           one call: answered in the caller's own API format
│   ├── WireFormatError (ValueError)    the call is not what its API allows
│   │   ├── AmbiguousBodyError          ... and two readers could understand it differently
│   │   └── InlinePolicyError           ... and it is its inline policy that is wrong
│   ├── PolicyRefusedError              an inline policy that this service does not allow
│   ├── NotAllowedError                 a model or route that this caller may not use
│   ├── QuotaError                      a limit or budget is used up, or nobody can tell
│   ├── NotTranslatableError (ValueError)   the call holds what the provider's API has no place for
│   ├── UnusableAnswerError             what a provider sent is not an answer of its API
│   ├── RoutingUnavailableError         `routing.on_error: reject`, and no decision could be had
│   ├── GuardrailError                  a guardrail has stopped a call or its answer, or cannot judge it
│   ├── ForwardingError                 no model provider has answered, or none can
│   └── LoopError                       the call has come round to where it was
├── CasesError (ValueError)             at a desk: every fault of an evaluation's cases, at once
├── ExportError (ValueError)            at a desk: a model cannot be exported, or its export is not as good as it
├── NetworkError (OSError)              another server could not be asked, or its answer is of no use
│   ├── NetworkTimeoutError             ... within the time it was given
│   ├── NoConnectionError               ... since there is no connection to it
│   └── NoCredentialsError              ... since there is nothing to sign the request with
├── StoreError (OSError)                what is shared or kept elsewhere cannot be had; never reaches a caller as such
└── ClassificationError (RuntimeError)  the classifier has no answer; never reaches a caller as such
    ├── ClassifierTimeoutError
    ├── ClassifierSaturatedError
    ├── ClassifierUnavailableError      it runs elsewhere, and cannot answer now
    └── UnreadableAnswerError           a generative one wrote something that names no route
```
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOST_LISTED: Final = 100  # faults of cases, in one message


class PlanoError(Exception):
    """Base of every error this package raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a configuration.

    Attributes:
        where: The setting's path, e.g. `model_providers[1].model`.
        what: What is wrong and what to do about it; never the value.
        origin: Where the value came from, e.g. `plano.yaml:7` or `PLANO_MODE`; empty for code.
        is_unknown: Whether there is no such setting.
    """

    where: str
    what: str
    origin: str = ""
    is_unknown: bool = False

    def __str__(self) -> str:
        """Return `origin: where: what`, without the parts that are empty."""
        return ": ".join(part for part in (self.origin, self.where, self.what) if part)


class ConfigurationError(PlanoError, ValueError):
    """The configuration cannot be used; `faults` lists everything that is wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        """Keep the faults in the order they were found."""
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault{'' if len(self.faults) == 1 else 's'}"
        super().__init__("\n".join([f"{count} in the configuration:", *map(str, self.faults)]))


class MissingExtraError(PlanoError, ImportError):
    """An optional package that the settings ask for is not installed."""

    def __init__(self, extra: str, *, needed_for: str) -> None:
        """Name the extra and the setting that needs it."""
        super().__init__(f"{needed_for} needs an extra: pip install 'plano-asgi[{extra}]'")


class ArtifactError(PlanoError):
    """A model file cannot be used."""


class ArtifactNotFoundError(ArtifactError, FileNotFoundError):
    """A model file is not where it should be."""

    def __init__(self, path: Path) -> None:
        """Name the missing file."""
        super().__init__(f"{path} does not exist; reinstall plano-asgi or set classifier.model_path")


class ArtifactIntegrityError(ArtifactError, OSError):
    """A model file is not the file that was published."""

    def __init__(self, path: Path, *, problem: str) -> None:
        """Name the file and what is wrong with it."""
        super().__init__(f"{path}: {problem}; reinstall plano-asgi or export the model again")


class CasesError(PlanoError, ValueError):
    """The cases of an evaluation cannot be used; `faults` lists everything that is wrong with them."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        """Keep the faults in the order of the lines; the message lists the first 100."""
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault{'' if len(self.faults) == 1 else 's'}"
        listed = [*map(str, self.faults[:MOST_LISTED])]
        if unlisted := len(self.faults) - len(listed):
            listed.append(f"... and {unlisted} more")
        super().__init__("\n".join([f"{count} in the cases:", *listed]))


class ExportError(PlanoError, ValueError):
    """A model cannot be exported, or its export misses what it has to reach."""


class CallError(PlanoError):
    """A call that is answered with an error, in the caller's own API format.

    Attributes:
        status: HTTP status for an OpenAI-shaped caller; `wire` maps it for others.
        code: Stable machine-readable code, e.g. `invalid_json`.
        param: The field at fault, e.g. `messages[0].role`, or None.
        is_retryable: Whether the same call may succeed later.
        retry_after_s: Seconds after which it may, where it may at all.
        headers: What else its answer says, by lower-case names.
    """

    is_retryable = False
    retry_after_s: float = 1.0
    headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, message: str, *, status: int, code: str, param: str | None = None) -> None:
        """Describe the fault without quoting what the caller sent."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param


class WireFormatError(CallError, ValueError):
    """The bytes are not a call that this API allows."""

    def __init__(self, message: str, *, code: str, param: str | None = None, status: int = 400) -> None:
        """Describe the fault; `status` is 400 unless HTTP has a better word for it."""
        super().__init__(message, status=status, code=code, param=param)


class AmbiguousBodyError(WireFormatError):
    """A body that two readers could understand differently; it is refused everywhere, never passed on."""


class UnknownResponseError(WireFormatError):
    """The response that a call goes on from is not kept here."""


class InlinePolicyError(WireFormatError):
    """A call brings a malformed policy; it is refused everywhere, never ignored or passed on."""


class PolicyRefusedError(CallError):
    """An inline policy asks for something that this service does not allow."""

    def __init__(self, message: str, *, code: str, param: str) -> None:
        """Describe the refusal; always 403."""
        super().__init__(message, status=403, code=code, param=param)


class NotAllowedError(CallError):
    """The caller may not use what the call needs."""

    def __init__(self, message: str, *, code: str) -> None:
        """Describe the refusal; always 403."""
        super().__init__(message, status=403, code=code)


class QuotaError(CallError):
    """A limit or a budget is used up, or its counters cannot be had; `is_retryable` where waiting helps."""

    def __init__(self, message: str, *, status: int, code: str, retry_after_s: float | None = None) -> None:
        """Describe the refusal; `retry_after_s` is None where trying again is of no use."""
        super().__init__(message, status=status, code=code)
        self.is_retryable = retry_after_s is not None
        self.retry_after_s = retry_after_s or 0.0


class NotTranslatableError(CallError, ValueError):
    """A call holds what the API of the provider that should serve it has no place for; another provider's may."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        """Name the field at fault; always 422."""
        super().__init__(message, status=422, code="not_translatable", param=param)


class UnusableAnswerError(CallError):
    """What a provider sent is not an answer that its API allows."""

    is_retryable = True

    def __init__(self, message: str) -> None:
        """Describe the fault without quoting what the provider sent; always 502."""
        super().__init__(message, status=502, code="unusable_answer")


class RoutingUnavailableError(CallError):
    """No decision could be had and `routing.on_error` is `reject`."""

    is_retryable = True

    def __init__(self, message: str) -> None:
        """Describe the failure; always 503 (529 for an Anthropic caller)."""
        super().__init__(message, status=503, code="router_unavailable")


class GuardrailError(CallError):
    """A guardrail has stopped a call or its answer; `is_retryable` where it could not judge, and may be able to."""

    def __init__(self, message: str, *, guardrail: str, status: int, code: str, is_retryable: bool = False) -> None:
        """Name the guardrail, and what it has found by its kind, never by its words."""
        super().__init__(message, status=status, code=code)
        self.guardrail = guardrail
        self.is_retryable = is_retryable


class ForwardingError(CallError):
    """No model provider has answered a call, or none can; `is_retryable` where trying again may help."""

    def __init__(self, message: str, *, status: int, code: str, retry_after_s: float | None = None) -> None:
        """Describe the failure; `retry_after_s` is None where trying again is of no use."""
        super().__init__(message, status=status, code=code)
        self.is_retryable = retry_after_s is not None
        self.retry_after_s = retry_after_s or 0.0


class LoopError(CallError):
    """A call that routers send to each other, round and round; it is refused everywhere."""

    def __init__(self, message: str) -> None:
        """Describe the loop; always 508."""
        super().__init__(message, status=508, code="loop_detected")


class NetworkError(PlanoError, OSError):
    """Another server could not be asked, or its answer is of no use; names neither a URL's path nor what was sent."""


class NetworkTimeoutError(NetworkError):
    """Another server did not answer within the time it was given."""


class NoCredentialsError(NetworkError):
    """There is nothing to sign a request with; nothing was sent."""


class NoConnectionError(NetworkError):
    """There is no connection to another server, so that nothing was sent."""


class StoreError(PlanoError, OSError):
    """What workers share, or what outlives them, cannot be had now; names neither a key nor a value."""


class StoreBusyError(StoreError):
    """All of this process's connections to a store were in use for too long; the store itself may be well."""


class ClassificationError(PlanoError, RuntimeError):
    """The classifier has no answer for a conversation."""


class ClassifierTimeoutError(ClassificationError):
    """The classifier did not answer within `classifier.deadline_ms`."""


class ClassifierSaturatedError(ClassificationError):
    """`classifier.queue` calls are waiting already."""


class ClassifierUnavailableError(ClassificationError):
    """The classifier runs elsewhere and cannot answer now; it may again without any change here."""


class UnreadableAnswerError(ClassificationError):
    """A generative classifier wrote something that names no route and does not say that there is none."""
