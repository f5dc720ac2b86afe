"""`PromptWriter`: a conversation and a policy become the text of one user message."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Final

from plano_asgi.classify.prompts.fitting import Ranking, most_that_fit, shortened
from plano_asgi.classify.prompts.harmless_json import HarmlessJson
from plano_asgi.classify.prompts.templates import TEMPLATES, PromptForm
from plano_asgi.conversation import Conversation, Message
from plano_asgi.preferences import RoutingPolicy

DEFAULT_LIMIT: Final = 2_048
LEAST_ROOM: Final = 128  # tokens for the conversation, whatever the routes take
BYTES_OF_AN_ESTIMATED_TOKEN: Final = 4
TOKENS_PER_UNUSED_ONE: Final = 128  # how exactly a message is cut
MOST_CHARACTERS_OF_A_TOKEN: Final = 16  # on average over a prompt; a longer text is not even counted


def estimated_tokens(text: str) -> int:
    """Return how many tokens a text has by its length alone: a quarter of its bytes in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass")) // BYTES_OF_AN_ESTIMATED_TOKEN


class PromptWriter:
    """Writes the user message that a generative router reads; pure, and safe to share between threads.

    Text that imitates the prompt's tags or holds an unspeakable word is written with a JSON escape: no message and no
    route can end its own part of the prompt, and all of them read back as they were.
    """

    def __init__(
        self,
        form: PromptForm,
        *,
        count_tokens: Callable[[str], int] = estimated_tokens,
        limit: int = DEFAULT_LIMIT,
        unspeakable: Iterable[str] = (),
    ) -> None:
        """Choose what prompts look like, and how long they may be.

        Args:
            form: Order and wording.
            count_tokens: Tokens of a text; no more than the bytes of its NFC form. Asked about 50 times at the most
                for one prompt, and never for more than 16 characters for each token of `limit`.
            limit: Most tokens of a prompt. Where routes leave less than 128 of them, the conversation has 128.
            unspeakable: Words that must not stand in a text as such, like the tokenizer's special tokens.
        """
        self._template = TEMPLATES[form]
        self._json = HarmlessJson(is_spaced_ascii=self._template.is_spaced_ascii, unspeakable=unspeakable)
        self._count_tokens = count_tokens
        self._limit = limit
        self._most_characters = MOST_CHARACTERS_OF_A_TOKEN * max(limit, LEAST_ROOM)

    def static_part(self, policy: RoutingPolicy) -> str:
        """Return what every prompt of the policy begins with."""
        routes = [self._json.an_object(name=p.name, description=p.description) for p in policy.preferences]
        return self._template.opening + self._json.a_list(routes) + self._template.between

    def write(self, conversation: Conversation, policy: RoutingPolicy) -> str:
        """Return the user message's exact text; it begins with `static_part(policy)` and can be encoded as UTF-8.

        Only what user and assistant say is in it. Where that is more than fits, the newest messages are kept; the last
        user message always is, with its middle cut out where it alone is too long.
        """
        return "".join(self.parts(conversation, policy))

    def parts(self, conversation: Conversation, policy: RoutingPolicy) -> tuple[str, str, str]:
        """Return what `write` does in three parts: up to the conversation, the conversation, and what follows it."""
        opening, ending = self.static_part(policy), self._template.ending
        ranking = Ranking.of(conversation, most_characters=self._most_characters)
        said = self._conversation(ranking.first(len(ranking.order)) if ranking else ())
        if ranking is None or self._surely_fits(opening + said + ending):
            return opening, said, ending
        return opening, self._fitted(ranking, opening, ending), ending

    def _fitted(self, ranking: Ranking, opening: str, ending: str) -> str:
        """Return as much of the conversation as there is room for."""
        tokens = cache(self._tokens)

        def newest(count: int) -> str:
            return self._conversation(ranking.first(count))

        def ends(characters: int) -> str:
            return self._conversation([shortened(ranking.asked, characters)])

        has_room = (
            tokens(opening + newest(len(ranking.order)) + ending) <= self._limit
            or tokens(opening + newest(0) + ending) + LEAST_ROOM <= self._limit
        )
        before, after, limit = (opening, ending, self._limit) if has_room else ("", "", LEAST_ROOM)
        count = most_that_fit(len(ranking.order), lambda amount: tokens(before + newest(amount) + after), limit=limit)
        if count:
            return newest(count)
        countable = self._most_characters - len(before + ends(0) + after)
        characters = most_that_fit(
            max(0, min(len(ranking.asked.text), countable)),
            lambda amount: tokens(before + ends(amount) + after),
            limit=limit,
            slack=limit // TOKENS_PER_UNUSED_ONE,
        )
        return ends(characters)

    def _conversation(self, messages: Sequence[Message]) -> str:
        return self._json.a_list([self._json.an_object(role=m.role, content=m.text) for m in messages])

    def _surely_fits(self, prompt: str) -> bool:
        return len(prompt) <= self._limit and len(unicodedata.normalize("NFC", prompt).encode()) <= self._limit

    def _tokens(self, text: str) -> int:
        """Return the tokens of a text; of one that is certainly too long, an estimate that is over the limit, too."""
        if len(text) > self._most_characters:
            return len(text) // BYTES_OF_AN_ESTIMATED_TOKEN
        return self._count_tokens(text)
