"""The settings of the classifier."""

from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from plano_asgi.settings.fields import BaseUrl, Device, File, Flag, Folder, Milliseconds, SecretText, Share, Text, fault
from plano_asgi.settings.section import Section

ClassifierKind = Literal["embedded", "arch_router", "remote", "cascade"]
PromptForm = Literal["gateway", "card", "instructions_first"]


class CascadeSettings(Section):
    """When the embedded router is sure enough for its answer to stand, and the second classifier is not asked.

    Attributes:
        low: Most probability in [0, 1] of all routes together at which it is sure that none fits.
        high: Least probability in [0, 1] of the best route at which it is sure of that route.
    """

    low: Share = 0.2
    high: Share = 0.8

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        """Return the band unless it is upside down."""
        if self.low > self.high:
            raise fault("low is above high; between the two nothing is certain, so swap them")
        return self


class ClassifierSettings(Section):
    """Which classifier reads conversations, and what it may cost.

    Attributes:
        kind: Which classifier; a `cascade` asks the embedded one first, and then that of `model_path` or `base_url`.
        cascade: See there.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: Classifications that run side by side, or threads inside one run of `arch_router`; None for as many as
            suit the classifier.
        model_path: Folder of the model, where it is not the shipped one.
        base_url: Where a remote classifier is served; `/chat/completions` is appended.
        access_key: What a remote classifier's server is shown as a bearer token.
        model: The model's name on that server; None for `Arch-Router`.
        prompt_form: Order and wording of the prompt that a generative classifier reads.
        decode: Whether `arch_router` scores the routes in one pass, or generates an answer that is parsed.
        score: Whether a route's score is the product at the completions' branches, or its completion's as a whole.
        prefix_bytes: Bytes of keys and values that `arch_router` keeps of what policies' prompts begin with.
        shared_weights: Whether worker processes share the weights of `arch_router` on the CPU, at some cost of time.
        deadline_ms: Milliseconds one decision may take; None for the classifier's own default.
        queue: Calls that may wait for the classifier.
        calibration: The file by which its confidence is corrected, written by `plano-asgi calibrate`.
    """

    kind: ClassifierKind = "embedded"
    cascade: CascadeSettings = CascadeSettings()
    device: Device = "auto"
    threads: Annotated[int, Strict(), Field(ge=1, le=1024)] | None = None
    model_path: Folder | None = None
    base_url: BaseUrl | None = None
    access_key: SecretText | None = None
    model: Text | None = None
    prompt_form: PromptForm = "gateway"
    decode: Literal["score", "generate"] = "score"
    score: Literal["branch", "joint"] = "branch"
    prefix_bytes: Annotated[int, Strict(), Field(ge=0, le=1_099_511_627_776)] = 268_435_456
    shared_weights: Flag = False
    deadline_ms: Milliseconds | None = None
    queue: Annotated[int, Strict(), Field(ge=1, le=1_000_000)] = 256
    calibration: File | None = None
