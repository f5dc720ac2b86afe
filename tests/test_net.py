"""The HTTP client: certificates are verified, and neither a fork nor a race shares what must not be shared."""

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Final

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plano_asgi.errors import NetworkError
from plano_asgi.net import HttpAnswer, HttpClient, HttpRequest, StreamingClient

FORKED: Final = """
import os, sys
from plano_asgi.net import HttpClient
client = HttpClient(connections=2)
def port():
    return client.post(sys.argv[1], b"", headers={}, timeout_s=5, most_bytes=100).body.decode()
before = port()
child = os.fork()
if child == 0:
    print(before, port(), port(), flush=True)
    client.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(before, port(), flush=True)
"""


class TellsThePort(BaseHTTPRequestHandler):
    """Answers with the port that the client comes from."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 10

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers["content-length"]))
        body = str(self.client_address[1]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Keep quiet."""


class QuietServer(ThreadingHTTPServer):
    """A server that says nothing of clients that go away."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[QuietServer]:
    """Return a server that is ready to serve."""
    server = QuietServer(("127.0.0.1", 0), TellsThePort)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a certificate for 127.0.0.1 that nobody has signed but itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plano test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


def url_of(server: QuietServer, scheme: str = "http") -> str:
    """Return a server's URL."""
    return f"{scheme}://127.0.0.1:{server.server_address[1]}/"


def post(client: HttpClient, url: str) -> HttpAnswer:
    """Return the answer to an empty request."""
    return client.post(url, b"", headers={}, timeout_s=5, most_bytes=100)


def test_certificate_must_be_signed_by_somebody_known(
    server: QuietServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server nobody vouches for is not talked to; whoever names its authority in SSL_CERT_FILE can talk to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)

    stranger = HttpClient(connections=1)
    with pytest.raises(NetworkError, match=r"no connection \(SSLCertVerificationError\)"):
        post(stranger, url_of(server, "https"))
    stranger.close()

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    friend = HttpClient(connections=1)
    assert post(friend, url_of(server, "https")).status == 200
    friend.close()


def test_what_goes_wrong_after_the_handshake_is_an_error_of_the_network(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers a request of TLS in plain text is broken, and no error of another kind.

    A client trusts what the environment names when it is made, whatever those before it trust.
    """
    StreamingClient(connections=1, connect_s=60)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(listener: socket.socket) -> None:
        """Shake hands, hear the request, forget about TLS, and wait until the caller goes."""
        connection, _ = listener.accept()
        plain = connection.dup()
        with plain, context.wrap_socket(connection, server_side=True) as encrypted:
            heard = b""
            while not heard.endswith(b"{}") and (piece := encrypted.recv(4096)):
                heard += piece
            plain.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            while plain.recv(4096):
                pass

    async def ask(url: str) -> None:
        """Ask as a gateway does."""
        client = StreamingClient(connections=1, connect_s=60)
        with pytest.raises(NetworkError, match="SSL"):
            await client.open(HttpRequest(url=url, headers=(), body=b"{}"))
        await client.aclose()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        served = threads.submit(serve, listener)
        anyio.run(ask, f"https://127.0.0.1:{listener.getsockname()[1]}/")
        served.result(5)


def test_proxies_of_the_environment_are_not_used(server: QuietServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names sees no prompt."""
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    client = HttpClient(connections=1)

    assert post(client, url_of(server)).status == 200
    client.close()


def test_fork_shares_no_connection(server: QuietServer) -> None:
    """A forked process opens a connection of its own, keeps it, and leaves its parent's open when it closes."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, url_of(server)], capture_output=True, check=True
    )

    (before, first, second), (_, after) = (line.split() for line in ran.stdout.splitlines())
    assert first == second != before
    assert after == before


def test_threads_that_come_first_share_one_bound(server: QuietServer) -> None:
    """Threads that open the client together use the connections of one."""
    client = HttpClient(connections=8)
    with ThreadPoolExecutor(8) as threads:
        ports = {answer.body for answer in threads.map(lambda _: post(client, url_of(server)), range(64))}
    client.close()

    assert 1 <= len(ports) <= 8


def test_closing_twice_or_unopened_is_nothing() -> None:
    """A client that was never used, or is closed already, can be closed."""
    client = HttpClient(connections=1)

    client.close()
    client.close()


def test_closing_ends_a_request_under_way_as_a_network_error() -> None:
    """A request whose client is closed while it waits for the answer is told so by the room's own error."""
    client = HttpClient(connections=1)
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(post, client, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)
            client.close()
        failure = waiting.exception(timeout=5)

    assert isinstance(failure, NetworkError)


def test_answer_does_not_show_its_words() -> None:
    """What a server said is not in the representation, which may end in a log."""
    assert "prompt" not in repr(HttpAnswer(status=200, body=b"the prompt"))


def test_first_call_of_a_process_imports_no_http_library() -> None:
    """What speaks HTTP comes with the room, at start-up, and not with the first call, on the event loop."""
    program = """
import asyncio, sys
from plano_asgi.net import HttpRequest, StreamingClient

async def answer(reader, writer):
    await reader.readuntil(b"{}")
    writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nok")
    await writer.drain()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    client = StreamingClient(connections=1, connect_s=10)
    before = set(sys.modules)
    answered = await client.open(HttpRequest(url=url, headers=(), body=b"{}"))
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    print(answered.status, new & {"h11", "h2", "httpcore", "httpx", "trio"})
    await answered.aclose()
    await client.aclose()
    server.close()

asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "200 set()"
