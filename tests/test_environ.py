"""CGI-like variables of a request, as WSGI servers and Django give them: headers, path, and what a new body changes."""

from typing import Any

import pytest

from plano_asgi.intake.environ import headers_of, path_of, rewrite_environ

ENVIRON = {
    "REQUEST_METHOD": "POST",
    "PATH_INFO": "/v1/messages",
    "CONTENT_TYPE": "application/json",
    "CONTENT_LENGTH": "12",
    "HTTP_X_REQUEST_ID": "r1",
    "HTTP_X_PLANO_MODEL": "forged",
    "HTTP_X_PLANO_ROUTING": "off",
    "HTTP_CONTENT_ENCODING": "gzip",
    "HTTP_TRANSFER_ENCODING": "chunked",
    "wsgi.input": None,
}


def test_headers_are_the_variables_that_tell_of_them() -> None:
    """Headers have their usual names, whether CGI gives them a prefix or not; the rest is none."""
    headers = headers_of(dict(ENVIRON))

    assert (headers.content_length, headers.has_json_content, headers.get("x-request-id")) == (12, True, "r1")
    assert headers.get("request-method") == ""


@pytest.mark.parametrize("name", ["HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"])
def test_variable_beside_the_one_of_cgi_changes_nothing(name: str) -> None:
    """A server or a client that adds a second length or type does not keep a call from being read."""
    headers = headers_of({**ENVIRON, name: "text/plain"})

    assert (headers.content_length, headers.has_json_content) == (12, True)


def test_rewritten_variables_tell_of_the_new_body() -> None:
    """The length is the new one, encodings are gone, and so is what a client may not say; the bypass stays."""
    environ: dict[str, Any] = {**ENVIRON, "HTTP_CONTENT_LENGTH": "12"}

    rewrite_environ(environ, length=99)

    gone = {"HTTP_X_PLANO_MODEL", "HTTP_CONTENT_ENCODING", "HTTP_TRANSFER_ENCODING"}
    assert environ == {**{name: value for name, value in ENVIRON.items() if name not in gone}, "CONTENT_LENGTH": "99"}


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({}, "/v1/messages"),
        ({"RAW_URI": "/v1/messages?next=%2F"}, "/v1/messages"),
        ({"RAW_URI": "/v1%2Fmessages"}, ""),
        ({"REQUEST_URI": "/v1%2fmessages"}, ""),
    ],
    ids=["unknown", "in the query", "Gunicorn", "others"],
)
def test_path_with_an_encoded_slash_is_no_path(raw: dict[str, str], path: str) -> None:
    """Where the server lets us know the raw path, an encoded slash in it makes it ambiguous."""
    assert path_of({**ENVIRON, **raw}) == path
