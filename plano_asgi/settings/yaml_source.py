"""The YAML file, read into a tree: no tags, no merge keys, no duplicate keys, bounded in every direction.

Theory of operation: PyYAML's `SafeLoader` composes the text into a graph of nodes, which carry line numbers; it
constructs nothing. This module walks the graph itself, so that nothing is built but dicts, lists and scalars, and
a fault can name its line. Values are never quoted: any of them may be a key that landed in the wrong place.
"""

import re
from dataclasses import dataclass, field
from typing import Final

import yaml

from plano_asgi.errors import Fault
from plano_asgi.settings.draft import Draft, Keys, dotted

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 50_000  # with aliases expanded

_TAG_PREFIX: Final = "tag:yaml.org,2002:"
_TEXT_TAGS: Final = frozenset({"str", "timestamp", "value", "merge"})
_KEY_TAGS: Final = frozenset(_TAG_PREFIX + tag for tag in _TEXT_TAGS | {"null", "bool", "int", "float"})
_NUMBER = re.compile(
    r"[-+]?(?:0|[1-9][0-9]{0,17}|[0-9]{1,64}\.[0-9]{0,64}|\.[0-9]{1,64})(?:e[-+]?[0-9]{1,3})?", re.IGNORECASE
)
_TOO_DEEP: Final = f"is nested deeper than {MAX_DEPTH} levels"
_TAG: Final = "a tag (!name) is not allowed; write the value without it"
_SYNTAX: Final = (  # how PyYAML's own words begin; the rest of them may repeat a value
    ("found character '\\t'", "a tab cannot indent YAML; use spaces"),
    ("found character", "a value cannot begin with this character; put it in quotes"),
    ("mapping values are not allowed", "there is a second colon; put the value in quotes, or check the indentation"),
    ("could not find expected ':'", "a colon is missing after a key"),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("expected ','", "a bracket is not closed, or a comma is missing"),
    ("found undefined alias", "an alias (*name) has no anchor (&name); put text that begins with * in quotes"),
    ("second occurrence", "an anchor (&name) is given twice"),
    ("but found another document", "there is a second document; a configuration is one, without --- between"),
    ("found undefined tag handle", "a tag (!name) is not allowed; put text that begins with ! in quotes"),
    (_TOO_DEEP, _TOO_DEEP),
)


class _Composer(yaml.SafeLoader):
    """Composes nodes, to a bounded depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node; refuse one that is nested too deeply."""
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs leave it out
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


@dataclass(slots=True, kw_only=True)
class YamlTree:
    """What a YAML text says.

    Attributes:
        values: Text-keyed dicts, lists and scalars.
        origins: File and line of the value at each path.
        faults: What is wrong with the text.
        is_readable: Whether anything could be made of it.
    """

    values: dict[str, object] = field(default_factory=dict, repr=False)
    origins: dict[Keys, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    is_readable: bool = True


@dataclass(slots=True, kw_only=True)
class _Walk:
    """One pass over a graph of nodes.

    Attributes:
        file: The file's name as given.
        draft: Where origins and faults are kept.
        active: Nodes that the walk is inside of, by identity; one that is met again is recursive.
        count: Values met so far.
    """

    file: str
    draft: Draft = field(default_factory=Draft)
    active: set[int] = field(default_factory=set)
    count: int = 0

    def value(self, node: yaml.Node, keys: Keys) -> object:
        """Return what a node says; what is wrong with it becomes a fault, and None."""
        self.draft.origins[keys] = _origin(self.file, node)
        self.count += 1
        if self.count > MAX_VALUES:
            raise _TooManyError(node)
        if id(node) in self.active:
            self.draft.fault(keys, "an alias (*name) repeats a value inside itself")
            return None
        if len(self.active) > MAX_DEPTH:
            self.draft.fault(keys, _TOO_DEEP)
            return None
        self.active.add(id(node))
        try:
            return self._content(node, keys)
        finally:
            self.active.discard(id(node))

    def _content(self, node: yaml.Node, keys: Keys) -> object:
        """Return the content of a node that may be entered."""
        tag = node.tag.removeprefix(_TAG_PREFIX)
        if isinstance(node, yaml.MappingNode) and tag == "map":
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            return [self.value(item, (*keys, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node.value, tag, keys)
        self.draft.fault(keys, _TAG)
        return None

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, object]:
        """Return a mapping with text keys; of a key that is given twice, the first."""
        content: dict[str, object] = {}
        for key_node, value_node in node.value:
            origin = _origin(self.file, key_node)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _KEY_TAGS:
                what = "a key is plain text: no list, no mapping, no tag (!name)"
                self.draft.faults.append(Fault(where=dotted(keys), what=what, origin=origin))
                continue
            key = key_node.value
            if key in content:
                what = f"is given twice, first at {self.draft.origin((*keys, key))}; keep one"
                self.draft.faults.append(Fault(where=dotted((*keys, key)), what=what, origin=origin))
                continue
            content[key] = self.value(value_node, (*keys, key))
            self.draft.origins[*keys, key] = origin
        return content

    def _scalar(self, text: str, tag: str, keys: Keys) -> object:
        """Return a scalar by its tag; YAML's odder numbers (octal, base 60, with underscores) count as text."""
        if tag in _TEXT_TAGS:
            return text
        if tag == "null":
            return None
        if tag == "bool" and text.lower() in yaml.SafeLoader.bool_values:
            return yaml.SafeLoader.bool_values[text.lower()]
        if tag in {"int", "float"}:
            return number(text)
        self.draft.fault(keys, _TAG)
        return None


class _TooManyError(Exception):
    """The file has too many values; it carries the node at which the count ran out."""

    def __init__(self, node: yaml.Node) -> None:
        """Keep the node."""
        super().__init__("too many values")
        self.node = node


def number(text: str) -> object:
    """Return the number that a text spells in plain decimal notation, else the text itself."""
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("+-").isdecimal() else float(text)


def read_yaml(text: str, *, name: str) -> YamlTree:
    """Return what a YAML text says and what is wrong with it; never raises, whatever the text."""
    node = _composed(text, name)
    if node is None:
        return YamlTree()
    if isinstance(node, Fault):
        return _unreadable(node)
    walk = _Walk(file=name)
    try:
        content = walk.value(node, ())
    except _TooManyError as error:
        what = f"has more than {MAX_VALUES:,} values, aliases (*name) included"
        return _unreadable(Fault(where="", what=what, origin=_origin(name, error.node)))
    values = content if isinstance(content, dict) else {}
    return YamlTree(values=values, origins=walk.draft.origins, faults=walk.draft.faults)


def _composed(text: str, name: str) -> yaml.MappingNode | Fault | None:
    """Return the text's graph of nodes, None where it says nothing, or why it is no mapping."""
    try:
        loader = _Composer(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return Fault(where="", what="a control character is not allowed in YAML", origin=f"{name}:{line}")
    try:
        node = loader.get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two: an escape beyond Unicode
        return _syntax_fault(error, name, line=loader.line + 1)
    finally:
        loader.dispose()
    if node is None or node.tag == f"{_TAG_PREFIX}null":
        return None
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG_PREFIX}map":
        return node
    what = _TAG if isinstance(node, yaml.MappingNode) else "expected settings, one `key: value` a line"
    return Fault(where="", what=what, origin=_origin(name, node))


def _unreadable(fault: Fault) -> YamlTree:
    """Return the tree of a text that nothing can be made of."""
    return YamlTree(faults=[fault], is_readable=False)


def _syntax_fault(error: Exception, file: str, *, line: int) -> Fault:
    """Return a syntax error in words that repeat nothing of the text; `line` is where the reader stopped."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return Fault(where="", what="is not valid YAML; check the escapes in quoted text", origin=f"{file}:{line}")
    if mark := error.problem_mark or error.context_mark:
        line = mark.line + 1
    problem = error.problem or ""
    what = next((ours for theirs, ours in _SYNTAX if problem.startswith(theirs)), None)
    return Fault(
        where="",
        what=what or "is not valid YAML at this line or the one before; check indentation, quotes and colons",
        origin=f"{file}:{line}",
    )


def _origin(file: str, node: yaml.Node) -> str:
    """Return file and line of a node."""
    return f"{file}:{node.start_mark.line + 1}"
