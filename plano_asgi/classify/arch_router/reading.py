"""Conversations and policies to tokens: what the model reads, and the completions it may answer with."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from cachetools import LRUCache

from plano_asgi.classify.arch_router.bundle import Bundle
from plano_asgi.classify.arch_router.completion_tree import CompletionTree
from plano_asgi.classify.arch_router.completions import completions
from plano_asgi.classify.arch_router.tokens import BundleTokenizer, Tokens, check_length
from plano_asgi.classify.prompts import PromptForm, PromptWriter
from plano_asgi.classify.readings import ReadPart, pieces_of, within
from plano_asgi.conversation import Conversation, Message, Role
from plano_asgi.preferences import RoutingPolicy, RoutingPreference

TOKENS_KEPT: Final = 524_288  # of policies; 100 bytes each at the most


@dataclass(frozen=True, slots=True, eq=False)
class ReadPolicy:
    """What depends on a policy alone.

    Attributes:
        static: The tokens that all its prompts begin with.
        tree: The completions that name its routes, and the one that names none.
    """

    static: Tokens
    tree: CompletionTree

    @property
    def size(self) -> int:
        """How many tokens all of it is."""
        ways = sum(len(candidates) for branch in self.tree.branches for candidates in branch.leads_to)
        return len(self.static) + len(self.tree.forced) + len(self.tree.tokens) + ways


class Reader:
    """Writes prompts and turns them into tokens; thread-safe.

    Attributes:
        tokenizer: The bundle's.
    """

    def __init__(self, bundle: Bundle, *, form: PromptForm, joint: bool) -> None:
        """Load the tokenizer.

        Args:
            bundle: Whose tokenizer, chat template and completions to use.
            form: The prompt's order and wording.
            joint: Whether whole completions are scored.

        Raises:
            ArtifactIntegrityError: The tokenizer cannot be loaded, or does not belong to the model.
        """
        self._bundle = bundle
        self._joint = joint
        self.tokenizer = BundleTokenizer(bundle)
        self._writer = PromptWriter(
            form,
            count_tokens=self.tokenizer.count,
            limit=bundle.prompt_tokens,
            unspeakable=self.tokenizer.special_words,
        )
        self._policies: LRUCache[bytes, ReadPolicy] = LRUCache(TOKENS_KEPT, getsizeof=lambda read: read.size)
        self._lock = Lock()

    def prompt(self, conversation: Conversation, policy: RoutingPolicy) -> Tokens:
        """Return all tokens of a prompt, in the chat template."""
        text = self._writer.write(conversation, policy)
        return self.tokenizer.encode(self._bundle.chat_before + text + self._bundle.chat_after)

    def parts(self, conversation: Conversation, policy: RoutingPolicy) -> tuple[ReadPart, ...]:
        """Return what a prompt is made of: the routes with all fixed words, the chat template's too; what was said."""
        opening, said, ending = self._writer.parts(conversation, policy)
        before = self._bundle.chat_before + opening
        spans = self.tokenizer.spans(before + said + ending + self._bundle.chat_after)
        own = [
            (start - len(before), end - len(before)) for start, end in within(spans, len(before), len(before + said))
        ]
        conversation_part = ReadPart(name="conversation", tokens=len(own), pieces=pieces_of(said, own))
        return ReadPart(name="routes", tokens=len(spans) - len(own)), conversation_part

    def policy(self, policy: RoutingPolicy) -> ReadPolicy:
        """Return what depends on the policy alone; that of the policies used last is kept.

        Raises:
            ClassificationError: The routes take more tokens than the model reads.
        """
        with self._lock:
            read: ReadPolicy | None = self._policies.get(policy.digest)
        if read is None:
            read = ReadPolicy(self._static(policy), self._tree(policy))
            check_length(len(read.static) + len(read.tree.forced) + len(read.tree.tokens), context=self._bundle.context)
            if read.size <= TOKENS_KEPT:
                with self._lock:
                    self._policies[policy.digest] = read
        return read

    def root(self) -> Tokens:
        """Return the tokens that the prompts of all policies begin with."""
        one, another = (
            RoutingPolicy(preferences=(RoutingPreference(name=name, description=name, models=()),)) for name in "a0"
        )
        return common(self._static(one), self._static(another))

    def _static(self, policy: RoutingPolicy) -> Tokens:
        """Return the static tokens as they are in a prompt that goes on: the last ones may merge with what follows."""
        alone = self.tokenizer.encode(self._bundle.chat_before + self._writer.static_part(policy))
        return common(alone, self.prompt((Message(role=Role.USER, text="?"),), policy))

    def _tree(self, policy: RoutingPolicy) -> CompletionTree:
        tokens = [self.tokenizer.encode(text) for text in completions(policy, self._bundle.quoting)]
        return CompletionTree.build(tokens, end=self._bundle.end_tokens[0], joint=self._joint)


def common(one: Sequence[int], other: Sequence[int]) -> Tokens:
    """Return what both begin with."""
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return tuple(one[:same])
