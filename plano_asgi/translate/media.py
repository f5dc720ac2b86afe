"""Images and documents: data URLs, file formats, and the refusal of what an API has no place for."""

from typing import Final

from plano_asgi.errors import NotTranslatableError
from plano_asgi.translate.call import Inline, Keeper, Link, Stored
from plano_asgi.translate.taking import Taking
from plano_asgi.wire.fields import invalid

PDF: Final = "application/pdf"
_BASE64: Final = ";base64"


def read_url(url: str, at: str) -> Inline | Link:
    """Return what a URL gives: media within itself (`data:`), or at its place (`https:`)."""
    if url[:5].lower() != "data:":
        return Link(url)
    head, comma, data = url[5:].partition(",")
    if not comma or not head.lower().endswith(_BASE64):
        raise invalid(at, "a data URL is written data:<media type>;base64,<data>")
    return Inline(head[: -len(_BASE64)].partition(";")[0].lower(), data)


def read_detail(image: Taking) -> str | None:
    """Return how closely an image is to be looked at; None where that is left to the model."""
    detail = image.text("detail")
    return None if detail == "auto" else detail


def data_url(source: Inline) -> str:
    """Return media as a URL that holds it."""
    return f"data:{source.media_type};base64,{source.data}"


def as_url(source: Inline | Link) -> str:
    """Return media as a URL: its own, or one that holds it."""
    return source.url if isinstance(source, Link) else data_url(source)


def file_id_of(source: object, keeper: Keeper, *, what: str, at: str) -> str:
    """Return the id of a file that this keeper has; anything else is refused."""
    if isinstance(source, Stored) and source.keeper is keeper:
        return source.file_id
    raise not_carried(f"{what} of this kind", at)


def not_carried(what: str, at: str) -> NotTranslatableError:
    """Return the refusal of a part without which the conversation would be another one."""
    return NotTranslatableError(
        f"{at}: {what} cannot be sent to the provider that was chosen, whose API has no place for it; "
        "send it in another form, or choose a model that takes it",
        param=at,
    )
