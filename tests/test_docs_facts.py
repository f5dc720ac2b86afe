"""What the pages state is so: links, settings, defaults, error codes and the size of the training data."""

import json
import re
from pathlib import Path

import pytest
import yaml

from plano_asgi.lab.corpus_files import CORPUS_FOLDER, policies, task_types
from plano_asgi.settings import known_settings, load_settings

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
ROW = re.compile(r"^\| `([^`]+)`[^|]*\| ([^|]+) \|", re.MULTILINE)


def text_of(name: str) -> str:
    """Return a page."""
    return (ROOT / name).read_text(encoding="utf-8")


def rows() -> list[tuple[str, str]]:
    """Return each setting of the table in docs/configuration.md with its default as written."""
    return ROW.findall(text_of("docs/configuration.md"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made on the web."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link points to a file, or to a folder that holds one, and to a heading that is there."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.is_file() or any(place.glob("*")), f"{target} does not exist"
        assert not anchor or anchor in anchors(place), f"{target} is no heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    """No page is an island: following links from README.md, every page of docs is met."""
    met, to_read = set(), [ROOT / "README.md"]
    while to_read:
        page = to_read.pop()
        met.add(page)
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            place = (page.parent / target).resolve()
            found = [*place.glob("*.md")] if place.is_dir() else [place] * (place.suffix == ".md" and place.is_file())
            to_read += [path for path in found if path not in met]

    assert set((ROOT / "docs").rglob("*.md")) <= met


def test_every_setting_is_documented_once_and_no_other() -> None:
    """The table in docs/configuration.md lists exactly the settings there are."""
    assert sorted(name for name, _ in rows()) == sorted(known_settings())


@pytest.mark.parametrize(("name", "written"), [row for row in rows() if "[]" not in row[0]], ids=lambda part: part)
def test_documented_default_is_the_default(name: str, written: str) -> None:
    """The default that the table shows is the one that holds; words stand where the setting itself has none."""
    only = {"model_providers": [{"model": "openai/gpt-4o-mini", "default": True}]}
    value: object = load_settings(environ={}, overrides=only)
    for key in name.split("."):
        value = getattr(value, key)

    code = re.fullmatch(r"`(.+)`", written)
    if code is None:
        assert value is None or name == "paths"
    else:
        assert json.loads(json.dumps(value)) == yaml.safe_load(code[1])


def test_every_error_code_is_documented() -> None:
    """The codes in the pages that list errors are the ones that the code uses; an unknown path needs no row."""
    pages = "".join(map(text_of, ("docs/decision-endpoints.md", "docs/gateway.md", "docs/translation.md")))
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "plano_asgi").rglob("*.py"))
    table = re.findall(r"^\| \d{3}[^|]*\|([^|]+)\|", pages, re.MULTILINE)
    documented = set(re.findall(r"`(\w+)`", "".join(table)))

    assert set(re.findall(r'code="(\w+)"', source)) - {"not_found"} <= documented
    assert [code for code in documented if f'"{code}"' not in source] == []


def test_size_of_the_training_data_is_as_stated() -> None:
    """docs/model-card.md counts the corpus rightly."""
    source, own = task_types(), policies()
    files = CORPUS_FOLDER.glob("conversations*.jsonl")
    multi_turn = sum(path.read_text(encoding="utf-8").count("\n") for path in files)
    page = " ".join(text_of("docs/model-card.md").split())

    assert f"{len(source.conversations) - multi_turn:,} texts and {multi_turn:,} conversations" in page
    assert f"{len({c.label for c in source.conversations} - {None})} task types, {len(source.routes):,} routes" in page
    assert f"{len(own)} policies with {sum(len(p.conversations) for p in own):,} cases" in page


def test_configuration_of_the_readme_has_as_many_lines_as_it_says() -> None:
    """README.md counts the lines of its example rightly."""
    words = {"Nine": 9, "Ten": 10, "Eleven": 11, "Twelve": 12}
    found = re.search(r"^(\w+) lines of YAML.*?```yaml\n(.*?)```", text_of("README.md"), re.MULTILINE | re.DOTALL)

    assert found
    assert len(found[2].splitlines()) == words[found[1]]
