"""One API's calls in another's words: pure functions over bytes that lose nothing in silence.

Every format is read into one neutral form and written from it (`call`, `answer`); what cannot be carried is a `Loss`.
"""

from plano_asgi.translate.answer import Usage
from plano_asgi.translate.cache_marks import with_cache_marks
from plano_asgi.translate.context import TranslationContext
from plano_asgi.translate.failures import error_without_words, translate_error
from plano_asgi.translate.losses import Loss
from plano_asgi.translate.signers import Signers, own_thoughts
from plano_asgi.translate.streaming import StreamTranslation
from plano_asgi.translate.translation import (
    TranslatedAnswer,
    TranslatedRequest,
    translate_answer,
    translate_request,
)

__all__ = [
    "Loss",
    "Signers",
    "StreamTranslation",
    "TranslatedAnswer",
    "TranslatedRequest",
    "TranslationContext",
    "Usage",
    "error_without_words",
    "own_thoughts",
    "translate_answer",
    "translate_error",
    "translate_request",
    "with_cache_marks",
]
