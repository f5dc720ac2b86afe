"""What makes two calls the same to a classifier."""

import hashlib

from plano_asgi.conversation import Conversation
from plano_asgi.preferences import RoutingPolicy


def classification_key(conversation: Conversation, policy: RoutingPolicy, *, revision: str) -> bytes:
    """Return 16 bytes that differ wherever policy, classifier revision or conversation differ."""
    hasher = hashlib.blake2b(policy.digest, digest_size=16, person=b"plano-decision")
    texts = [revision]
    for message in conversation:
        outline = f"{message.role} {message.has_image} {len(message.tool_calls)}"
        texts += (outline, message.text, *message.tool_calls)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "big") + data)
    return hasher.digest()
