"""What a classifier is tried with before anybody waits for it."""

from typing import Final

from plano_asgi.conversation import Conversation, Message, Role

WARM_UP: Final[Conversation] = (
    Message(role=Role.USER, text="Which of these routes would take a call such as this one, if any of them does?"),
)
