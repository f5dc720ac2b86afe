"""What a router reads of a request's headers."""

from plano_asgi.intake import Headers


def test_headers_are_read_in_any_case_and_joined_where_they_are_repeated() -> None:
    """Names count in any case, padding does not, and repeated ones are one list; a missing one is empty."""
    headers = Headers.from_raw(
        [(b"Content-Type", b" application/json\t"), (b"x-tag", b"one"), (b"X-Tag", b" two "), (b"x-name", b"\xe9")]
    )

    names = ("content-type", "x-tag", "x-name", "x-none")
    assert [headers.get(name) for name in names] == ["application/json", "one, two", "\xe9", ""]


def test_headers_do_not_show_a_clients_key() -> None:
    """A representation, as a traceback may print it, quotes no header."""
    assert "planted" not in repr(Headers.from_raw([(b"authorization", b"Bearer planted")]))
