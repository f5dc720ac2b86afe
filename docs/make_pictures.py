"""Makes the pictures of these pages anew, from a running service: `python docs/make_pictures.py`.

Needs the development set-up and a Chromium on the PATH.
"""

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from threading import Thread
from typing import Final, Literal

import httpx
import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.text import Text

from plano_asgi.assembly import build_router
from plano_asgi.http.server import create_app
from plano_asgi.settings import load_settings

DOCS: Final = Path(__file__).parent
DEMO: Final = DOCS.parent / "examples" / "demo" / "plano.yaml"
SAID: Final = (
    "Write a function that merges two sorted lists",
    "What is the capital of Australia?",
    "Prove that there are infinitely many primes",
    "Thanks, that was all!",
    "Implement a rate limiter in Go",
    "Compare three ways to refinance a mortgage, step by step",
    "Translate good morning into Finnish",
    "Generate a React hook for debouncing",
    "A train leaves at 9:14 and another at 9:40; reason out where they meet",
    "Write SQL that finds duplicate orders",
)
Scheme = Literal["light", "dark"]


def main() -> None:
    """Make every picture."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with _served() as url, sync_playwright() as playwright:
        _capture("top", "top", "--once", "--url", url)
        _capture("route-explain", "route", "-c", str(DEMO), "--explain", "Implement a rate limiter in Go")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for scheme in ("light", "dark"):
            page = _playground(browser, url, scheme, 1180, 900)
            _keep(page.screenshot(full_page=True), f"playground-{scheme}")
        page = _playground(browser, url, "light", 400, 1240)
        _keep(page.screenshot(), "playground-phone")
        browser.close()


def _capture(name: str, *arguments: str) -> None:
    """Write what a command shows in a terminal as a picture."""
    environ = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "96"}
    command = [sys.executable, "-m", "plano_asgi", *arguments]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    console = Console(record=True, width=96, file=StringIO())
    console.print(Text.from_ansi(ran.stdout))
    drawn = console.export_svg(title=f"plano-asgi {arguments[0]}", unique_id=name)
    without_fonts = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # of another host
    (DOCS / "images" / f"{name}.svg").write_text(without_fonts, encoding="utf-8")


def _keep(picture: bytes, name: str) -> None:
    """Write a picture in 128 colours, which is all that it needs."""
    image = Image.open(BytesIO(picture)).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    image.save(DOCS / "images" / f"{name}.png", optimize=True)


def _playground(browser: Browser, url: str, scheme: Scheme, width: int, height: int) -> Page:
    """Return the page as it stands when somebody has changed a route."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": height}, device_scale_factor=1)
    page.goto(f"{url}/routing/playground")
    page.get_by_role("textbox", name="What the caller sends").fill("Draft a polite reply to a customer who waits")
    page.get_by_role("button", name="Add a route").click()
    page.get_by_role("textbox", name="Name of route 3").fill("customer_mail")
    page.get_by_role("textbox", name="Description of route customer_mail").fill("letters and mail to customers")
    page.get_by_text("customer_mail matches").wait_for()
    page.get_by_role("cell", name="customer_mail").first.wait_for()
    page.get_by_text("What the classifier reads").click()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.wait_for_timeout(400)
    return page


@contextmanager
def _served() -> Iterator[str]:
    """Serve the demo's configuration, with a past, and give its URL."""
    settings = load_settings(DEMO, environ={})
    router = build_router(settings)
    router.start()
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://localhost:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(create_app(settings, router), log_config=None))
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    for text in (*SAID, *SAID[::3], *SAID[::2]):
        call = {"messages": [{"role": "user", "content": text}]}
        httpx.post(f"{url}/routing/v1/chat/completions", json=call, trust_env=False).raise_for_status()
    yield url
    server.should_exit = True
    thread.join(30)


if __name__ == "__main__":
    main()
