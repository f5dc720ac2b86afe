"""`RemoteClassifier`: a generative router behind an HTTP server of its own."""

import hashlib
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from plano_asgi.classify import IsAwaited, always_awaited
from plano_asgi.classify.answers import read_answer
from plano_asgi.classify.prompts import CHAT_MARKS, DEFAULT_LIMIT, PromptForm, PromptWriter, estimated_tokens
from plano_asgi.classify.readings import Reading, ReadPart
from plano_asgi.classify.remote.completions import Completion, read_completion, request_body
from plano_asgi.classify.remote.scoring import certain, scores_of
from plano_asgi.conversation import Conversation, has_user_text
from plano_asgi.decisions import Scores
from plano_asgi.errors import (
    ClassificationError,
    ClassifierTimeoutError,
    ClassifierUnavailableError,
    NetworkError,
    NetworkTimeoutError,
)
from plano_asgi.events import ROUTE_UNKNOWN, get_logger
from plano_asgi.net import HttpAnswer, HttpClient
from plano_asgi.preferences import RoutingPolicy
from plano_asgi.secret import Secret

DEFAULT_MODEL: Final = "Arch-Router"
MOST_ANSWER_BYTES: Final = 1_048_576  # twenty alternatives to each of a hundred tokens take a third of it
FRAME_TOKENS: Final = 32  # for `{"route": ""}`, a code fence and an end, generously

_OK: Final = 200
_REFUSED: Final = frozenset({400, 422})  # what servers say that have no log-probabilities
_PASSING: Final = frozenset({408, 429})
_LEAST_SERVER_ERROR: Final = 500
_ADVICE: Final = {
    301: "set classifier.base_url to where it redirects",
    401: "set classifier.access_key",
    403: "check classifier.access_key",
    404: "check classifier.base_url, which usually ends in /v1, and classifier.model",
}


class RemoteClassifier:
    """Asks a server that speaks OpenAI's Chat Completions API, once for each conversation. Thread-safe and fork-safe.

    Where the server gives log-probabilities, they become the scores; where it does not, its choice has all. A server
    that refuses to give them is asked without from then on, until the next `prepare`.

    Attributes:
        kind: `remote`.
        revision: Differs wherever server, model or prompt form differ.
        threshold: 0.5; the server's choice always has more.
        deadline_ms: 2,000.
        parallelism: 32: it waits for the network, not for a core.
    """

    kind: Final = "remote"
    threshold: Final = 0.5
    deadline_ms: Final = 2_000.0
    parallelism: Final = 32

    def __init__(  # noqa: PLR0913 - what a server is asked, and how
        self,
        base_url: str,
        *,
        model: str = DEFAULT_MODEL,
        form: PromptForm = PromptForm.GATEWAY,
        access_key: Secret | None = None,
        timeout_ms: float = deadline_ms,
        connections: int = parallelism,
    ) -> None:
        """Note whom to ask; nothing is sent yet.

        Args:
            base_url: What `/chat/completions` is appended to.
            model: The model's name on the server.
            form: The prompt's order and wording.
            access_key: Sent as a bearer token.
            timeout_ms: Milliseconds for one answer.
            connections: Connections that are open at the same time, at most.
        """
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._server = "{0.scheme}://{0.netloc}".format(urlsplit(base_url))
        self._model = model
        self._access_key = access_key
        self._timeout_s = timeout_ms / 1000
        self._writer = PromptWriter(form, unspeakable=CHAT_MARKS)
        self._client = HttpClient(connections=connections)
        self._has_log_probabilities = True
        identity = f"{self._url}\n{model}\n{form}".encode()
        self.revision = hashlib.blake2b(identity, digest_size=8, person=b"plano-remote").hexdigest()

    def prepare(self, policy: RoutingPolicy) -> None:
        """Forget what the server refused before; whether it can be reached, the first classification tells."""
        del policy
        self._has_log_probabilities = True

    def classify(
        self, conversation: Conversation, policy: RoutingPolicy, *, is_awaited: IsAwaited = always_awaited
    ) -> Scores:
        """Return the probability of each route and of none of them; all on none where the user said nothing.

        Raises:
            ClassifierUnavailableError: The server cannot be reached, is overloaded or has failed.
            ClassifierTimeoutError: It is too slow, or nobody waits.
            UnreadableAnswerError: The model wrote something else than a route.
            ClassificationError: The server refuses the request, or is none of this kind.
        """
        routes = [preference.name for preference in policy.preferences]
        if not routes or not has_user_text(conversation):
            return certain(None, routes)
        if not is_awaited():
            raise ClassifierTimeoutError("nobody waits for the classification any more")
        most_tokens = FRAME_TOKENS + max(len(repr(name).encode(errors="surrogatepass")) for name in routes)
        completion = self._complete(self._writer.write(conversation, policy), most_tokens)
        answer = read_answer(completion.text, routes)
        if answer.is_unknown:
            get_logger().warning(ROUTE_UNKNOWN, classifier=self.kind, advice="it counts as no match")
        if not completion.steps:
            return certain(answer.route, routes)
        return scores_of(completion.steps, answer.route, routes)

    def readings(self, conversation: Conversation, policy: RoutingPolicy) -> tuple[Reading, ...]:
        """Return what the prompt of a conversation is made of; its tokens are the server's to count, and estimated."""
        if not policy.preferences or not has_user_text(conversation):
            return ()
        opening, said, ending = self._writer.parts(conversation, policy)
        routes = ReadPart(name="routes", tokens=estimated_tokens(opening + ending))
        own = ReadPart(name="conversation", tokens=estimated_tokens(said), pieces=(said,))
        tokens = routes.tokens + own.tokens
        parts = (routes, own)
        return (Reading(classifier=self.kind, tokens=tokens, limit=DEFAULT_LIMIT, is_estimate=True, parts=parts),)

    def close(self) -> None:
        """Close the connections; the next classification opens new ones."""
        self._client.close()

    def _complete(self, prompt: str, most_tokens: int) -> Completion:
        """Return the server's completion, asked for again without log-probabilities where it refuses those."""
        until = monotonic() + self._timeout_s
        asks_for_them = self._has_log_probabilities
        answer = self._post(prompt, most_tokens, until=until, with_log_probabilities=asks_for_them)
        if not asks_for_them or answer.status not in _REFUSED:
            return self._read(answer)
        completion = self._read(self._post(prompt, most_tokens, until=until, with_log_probabilities=False))
        self._has_log_probabilities = False
        return completion

    def _post(self, prompt: str, most_tokens: int, *, until: float, with_log_probabilities: bool) -> HttpAnswer:
        body = request_body(self._model, prompt, most_tokens=most_tokens, with_log_probabilities=with_log_probabilities)
        headers = {"content-type": "application/json", "accept": "application/json"}
        if self._access_key is not None:
            headers["authorization"] = f"Bearer {self._access_key.reveal()}"
        try:
            return self._client.post(
                self._url,
                body,
                headers=headers,
                timeout_s=max(0.001, until - monotonic()),
                most_bytes=MOST_ANSWER_BYTES,
            )
        except NetworkTimeoutError as error:
            raise ClassifierTimeoutError(f"{self._server}: {error}") from error
        except NetworkError as error:
            raise ClassifierUnavailableError(f"{self._server}: {error}") from error

    def _read(self, answer: HttpAnswer) -> Completion:
        """Return the completion that an answer holds; no error quotes it, for it may repeat what it was asked."""
        status = answer.status
        if status in _PASSING or status >= _LEAST_SERVER_ERROR:
            raise ClassifierUnavailableError(f"{self._server} answered {status}; its log says more")
        if status != _OK:
            advice = _ADVICE.get(301 if 300 <= status < 400 else status, "its log says more")  # noqa: PLR2004 - redirects
            raise ClassificationError(f"{self._server} answered {status}; {advice}")
        try:
            return read_completion(answer.body)
        except ClassificationError as error:
            raise ClassificationError(f"{self._server} {error}") from error
