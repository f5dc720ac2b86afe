"""The playground as people use it, in a real Chromium."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from starlette.applications import Starlette

from plano_asgi.settings import Settings, load_settings

SETTINGS: Final = """\
model_providers:
  - {model: openai/gpt-4o-mini, default: true}
  - model: openai/gpt-4o
    routing_preferences:
      - {name: complex_reasoning, description: "complex reasoning tasks, multi-step analysis"}
  - model: anthropic/claude-sonnet-4-20250514
    routing_preferences:
      - {name: code_generation, description: "generating new code, writing functions"}
"""
TOKEN: Final = "canary-token"  # noqa: S105 - made up
QUESTION: Final = "Draft a polite reply to a customer who's waiting"
CONVERSATION: Final = "What the caller sends"


@pytest.fixture(scope="module")
def url(app_of: Callable[..., Starlette], serve: Callable[[Starlette], str]) -> str:
    """Return where a service of the shipped model listens."""
    return serve(app_of(SETTINGS))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a Chromium without a window."""
    path = shutil.which("chromium")
    assert path, "install a Chromium; the tests drive it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return what opens the playground of a server; whatever it complains of, or asks elsewhere, fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(url: str, **options: Any) -> Page:
        """Open it in a browser that knows nothing yet."""
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(url) else complaints.append(asked.url))
        page.goto(f"{url}/routing/playground")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def chance(page: Page, route: str) -> float:
    """Return how full the bar of a route is, in percent."""
    return float(page.get_by_role("meter", name=f"Probability of {route}").get_attribute("aria-valuenow") or "nan")


def ask_for(page: Page, text: str) -> None:
    """Type something, and wait for its decision."""
    with page.expect_response(re.compile("/routing/v1/(chat|messages|responses)")):
        page.get_by_role("textbox", name=CONVERSATION).fill(text)


def with_a_route_of_mine(page: Page) -> None:
    """Add a route for mail, and wait until it is chosen."""
    ask_for(page, QUESTION)
    page.get_by_role("button", name="Add a route").click()
    page.get_by_role("textbox", name="Name of route 3").fill("mail")
    page.get_by_role("textbox", name="Description of route mail").fill('letters: "mail" to customers')
    expect(page.get_by_text("mail matches")).to_be_visible()


def copied(page: Page, language: str) -> str:
    """Return what the button copies."""
    page.get_by_role("radio", name=language).check(force=True)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_bars_move_while_typing(visit: Callable[..., Page], url: str) -> None:
    """Each route's probability follows what is typed, and so does the model that would be used."""
    page = visit(url)

    ask_for(page, "Write a function that merges two sorted lists")
    expect(page.locator("#model")).to_have_text("anthropic/claude-sonnet-4-20250514")
    assert chance(page, "code_generation") > 30
    ask_for(page, "Thanks, that was all!")
    expect(page.locator("#model")).to_have_text("openai/gpt-4o-mini")
    assert chance(page, "code_generation") < 20
    assert chance(page, "none of these") > 50
    expect(page.locator("#milliseconds")).to_have_text(re.compile(r"\d+\.\d ms"))
    expect(page.locator("#threshold")).to_have_text("0.30")


def test_route_is_edited_beside_it(visit: Callable[..., Page], url: str) -> None:
    """A route that is added here takes part at once, and is taken back with one button."""
    page = visit(url)

    with_a_route_of_mine(page)
    assert chance(page, "mail") > 50
    page.get_by_role("combobox", name="Model of route mail").select_option("openai/gpt-4o")
    expect(page.locator("#model")).to_have_text("openai/gpt-4o")
    page.get_by_role("button", name="Undo changes").click()
    expect(page.locator("#model")).to_have_text("openai/gpt-4o-mini")
    expect(page.get_by_role("meter", name="Probability of mail")).to_have_count(0)


def test_unfinished_route_waits(visit: Callable[..., Page], url: str) -> None:
    """A route without a description, or with another's name, takes no part yet; no call fails of it."""
    page = visit(url)
    ask_for(page, QUESTION)

    with page.expect_response(re.compile("/routing/v1/chat")) as answered:
        page.get_by_role("button", name="Add a route").click()
    assert answered.value.ok
    expect(page.get_by_text("a route wants a name of its own")).to_be_visible()
    page.get_by_role("textbox", name="Description of route route_3").fill("letters and mail")
    expect(page.get_by_text("changed here, for you alone")).to_be_visible()
    with page.expect_response(re.compile("/routing/v1/chat")) as answered:
        page.get_by_role("textbox", name="Name of route 3").fill("code_generation")
    assert answered.value.ok
    expect(page.get_by_text("a route wants a name of its own")).to_be_visible()


def test_copied_curl_decides_the_same(visit: Callable[..., Page], url: str) -> None:
    """The command that is copied can be run by a shell, and its answer is the page's."""
    page = visit(url)
    with_a_route_of_mine(page)

    ran = subprocess.run(["sh", "-c", copied(page, "curl")], capture_output=True, check=True)  # noqa: S607 - the shell

    decision = json.loads(ran.stdout)
    assert decision["route"] == "mail"
    assert round(100 * decision["confidence"]) == chance(page, "mail")


def test_copied_python_decides_the_same(visit: Callable[..., Page], url: str, tmp_path: Path) -> None:
    """The program that is copied runs as it is."""
    page = visit(url)
    with_a_route_of_mine(page)
    script = tmp_path / "again.py"
    script.write_text(copied(page, "Python"), encoding="utf-8")

    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)

    assert ran.stdout.startswith("mail openai/gpt-4o-mini ")


def test_copied_yaml_is_a_configuration(visit: Callable[..., Page], url: str, tmp_path: Path) -> None:
    """The configuration that is copied is valid, and has the routes as they stand on the page."""
    page = visit(url)
    with_a_route_of_mine(page)
    file = tmp_path / "plano.yaml"
    file.write_text(copied(page, "YAML"), encoding="utf-8")

    settings: Settings = load_settings(file, environ={})

    assert [preference.name for preference in settings.policy.preferences] == [
        "complex_reasoning",
        "code_generation",
        "mail",
    ]
    assert settings.policy.named("mail").description == 'letters: "mail" to customers'
    assert settings.catalog.default_model == "openai/gpt-4o-mini"
    assert yaml.safe_load(file.read_text())["model_providers"][0]["default"] is True


@pytest.mark.parametrize(
    ("body", "name", "path"),
    [
        ({"messages": [{"role": "user", "content": QUESTION}]}, "Chat", "chat/completions"),
        (
            {"max_tokens": 9, "system": "Be brief.", "messages": [{"role": "user", "content": QUESTION}]},
            "Messages",
            "messages",
        ),
        ({"input": [{"role": "user", "content": QUESTION}]}, "Responses", "responses"),
    ],
    ids=["chat completions", "messages", "responses"],
)
def test_pasted_body_is_recognised(
    visit: Callable[..., Page], url: str, body: dict[str, Any], name: str, path: str
) -> None:
    """The body of a call in any of the three APIs is taken for what it is, and sent to its own endpoint."""
    page = visit(url)
    page.evaluate("text => navigator.clipboard.writeText(text)", json.dumps(body))
    box = page.get_by_role("textbox", name=CONVERSATION)
    box.click()
    box.press("Control+a")

    with page.expect_response(re.compile(f"/routing/v1/{path}")) as answered:
        box.press("Control+v")

    assert answered.value.ok
    expect(page.get_by_role("radio", name=name)).to_be_checked()
    assert json.loads(answered.value.request.post_data or "") == body


def test_formats_turn_into_each_other(visit: Callable[..., Page], url: str) -> None:
    """What was typed is written in the format that is chosen, by keyboard too, and comes back as it was."""
    page = visit(url)
    ask_for(page, QUESTION)
    page.get_by_role("radio", name="Text").focus()

    for _ in range(3):
        page.keyboard.press("ArrowRight")
    body = json.loads(page.get_by_role("textbox", name=CONVERSATION).input_value())
    page.keyboard.press("ArrowRight")

    assert body == {"input": [{"role": "user", "content": QUESTION}]}
    expect(page.get_by_role("radio", name="Text")).to_be_checked()
    expect(page.get_by_role("textbox", name=CONVERSATION)).to_have_value(QUESTION)


def test_faults_are_told_where_they_are(visit: Callable[..., Page], url: str) -> None:
    """What cannot be decided is said beside what was typed, and forgotten when it is mended."""
    page = visit(url)
    page.get_by_role("radio", name="Chat").check(force=True)

    page.get_by_role("textbox", name=CONVERSATION).fill('{"messages": [')
    expect(page.get_by_role("alert")).to_contain_text("Not JSON yet")
    ask_for(page, '{"messages": [{"role": "user", "content": "hi"}]}')
    expect(page.get_by_role("alert")).to_be_empty()


def test_decisions_are_followed_and_nothing_becomes_markup(visit: Callable[..., Page], url: str) -> None:
    """A call that others make appears at once, with its route as text whatever stands in it."""
    page = visit(url)
    expect(page.get_by_role("heading", name="Decisions")).to_be_visible()
    name = "<img src=x onerror=alert(1)>"
    policy = [{"name": name, "description": "writing functions", "models": ["openai/gpt-4o"]}]
    call = {
        "messages": [{"role": "user", "content": "Write a function that sorts a list"}],
        "routing_preferences": policy,
    }

    decided = httpx.post(f"{url}/routing/v1/chat/completions", json=call, trust_env=False).json()

    assert decided["route"] == name
    expect(page.get_by_role("cell", name=name).first).to_be_visible()
    expect(page.locator("#share-chart")).to_contain_text(name)
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("#latency-chart circle").count() > 0
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Pause")).to_have_attribute("aria-pressed", "true")


def test_token_is_typed_once(
    visit: Callable[..., Page], app_of: Callable[..., Starlette], serve: Callable[[Starlette], str]
) -> None:
    """Behind an admin token a form comes first, and the page behind it follows the decision log."""
    page = visit(serve(app_of(f"{SETTINGS}admin: {{token: {TOKEN}}}\n")))

    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Show the playground").click()

    expect(page.get_by_role("heading", name="Decisions")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Conversation")).to_be_visible()
    assert "plano_admin" not in page.evaluate("document.cookie")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(visit: Callable[..., Page], url: str, scheme: str) -> None:
    """Neither in light nor in dark, wide or narrow, has axe a serious fault to find, and nothing is cut off."""
    page = visit(url, color_scheme=scheme, reduced_motion="reduce")
    with_a_route_of_mine(page)
    expect(page.get_by_role("cell", name="mail").first).to_be_visible()
    page.get_by_text("What the classifier reads").click()

    for width in (1_180, 390):
        page.set_viewport_size({"width": width, "height": 900})
        found = Axe().run(page).response["violations"]
        assert [fault["id"] for fault in found if fault["impact"] in {"serious", "critical"}] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_tokens_are_shown_as_the_classifier_reads_them(visit: Callable[..., Page], url: str) -> None:
    """The page says how many tokens were read, and shows on demand the words that they are, and what was left out."""
    page = visit(url)
    ask_for(page, "Write a list")

    expect(page.locator("#tokens")).to_have_text("5 of 128")
    page.get_by_text("What the classifier reads").click()
    read = page.get_by_role("region", name="What the classifier reads")
    expect(read).to_contain_text("the latest turn, 5 of 128 tokens")
    expect(read.locator(".pieces span")).to_have_text(["Write", " a", " list"])
    ask_for(page, f"Write <b>one</b> parser {'and another ' * 100}")
    expect(page.locator("#tokens")).to_have_text("128 of 128")
    expect(read).to_contain_text("… left out …")
    assert page.locator("#read b").count() == 0
