"""A YAML file as a tree whose every value knows its place, read strictly; what is wrong with it is collected.

Types are those of YAML 1.2's core schema (`no` and `12:30` are text, `1e-9` is a number). Tags, aliases of lists and
mappings, keys given twice and further documents are faults.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import BadData, UnknownName


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands."""

    value: Any
    """A scalar, a list of nodes, or a dict of scalars to nodes."""
    field: str = ""
    line: int = 1
    """Of its key, where it has one."""
    first: int = 1
    """The line that its text begins in."""


_INT, _FLOAT = r"[-+]?[0-9]+", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_SCALARS: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("(null|Null|NULL|~)?", lambda _: None),
    ("true|True|TRUE", lambda _: True),
    ("false|False|FALSE", lambda _: False),
    (_INT, int),
    ("0x[0-9a-fA-F]+|0o[0-7]+", lambda text: int(text, 0)),
    (_FLOAT, float),
    (r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", lambda text: float(text.replace(".", ""))),
    (r"(?s:.*)", str),
)
"""The core schema of YAML 1.2 (section 10.3.2): what a scalar without quotes means."""


def _scalar(event: Any) -> Any:
    if not event.implicit[0]:
        return event.value
    return next(make(event.value) for pattern, make in _SCALARS if re.fullmatch(pattern, event.value))


class File:
    """A file, the faults found in it so far, and what its values must be.

    The methods that ask for a kind of value note a fault where a node is of another, and go on with the default; so
    they do, without a fault, where there is no node.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[BadData] = []
        self.later = False
        """Whether Python in it may be of a later version than the one that reads it."""
        self._anchored: dict[str, Node] = {}

    def fault(self, node: Node, message: str, line: int | None = None) -> None:
        """Note that something is wrong with a node. line: a more exact one than its own."""
        self.faults.append(BadData(str(self.path), message, line=line or node.line, field=node.field or None))

    def root(self) -> Node | None:
        """The file's one document; None, with a fault, where it cannot be read. Raises RecursionError."""
        import yaml

        content, position, message = b"", 0, ""
        try:
            content = self.path.read_bytes()
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            events = iter(yaml.parse(content.decode(), Loader=loader))
            next(events)
            if isinstance(next(events), yaml.StreamEndEvent):
                message = "it is empty; docs/tasks.md says what stands in it"
            else:
                root = self._node(events, next(events), "", None)
                next(events)
                if isinstance(next(events), yaml.StreamEndEvent):
                    return root
                message = "it holds a second document; put that in a file of its own"
        except OSError as error:
            message = f"it cannot be read ({error.strerror}); check the path"
        except UnicodeDecodeError as error:
            position, message = error.start, "not UTF-8; save it as UTF-8"
        except yaml.reader.ReaderError as error:
            position, message = error.position, f"{error.reason}; write them as escapes"
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            self.faults.append(BadData(str(self.path), f"not YAML: {error.problem}", line=line))
            return None
        self.faults.append(BadData(str(self.path), message, line=content.count(b"\n", 0, position) + 1))
        return None

    def _node(self, events: Iterator[Any], event: Any, field: str, line: int | None) -> Node:
        """The node that begins with `event`. line: of its key."""
        import yaml

        first = event.start_mark.line + 1
        node = Node(None, field, line or first, first)
        if isinstance(event, yaml.AliasEvent):
            anchored = self._anchored.get(str(event.anchor))
            if anchored is None:
                self.fault(node, f"no single value before it is anchored as &{event.anchor}; write the value out")
            return replace(anchored or node, field=field, line=node.line)
        if event.tag:
            self.fault(node, f"the tag {event.tag} is not taken; write the value as text of Python")
        if isinstance(event, yaml.SequenceStartEvent):
            return replace(node, value=self._list(events, field))
        if isinstance(event, yaml.MappingStartEvent):
            return replace(node, value=self._dict(events, field))
        try:
            node = replace(node, value=_scalar(event), first=first + (event.style == "|"))
        except ValueError:
            self.fault(node, "a number of too many digits; state something smaller")
        if event.anchor:
            self._anchored[event.anchor] = node
        return node

    def _list(self, events: Iterator[Any], field: str) -> list[Node]:
        import yaml

        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._node(events, event, f"{field}[{len(items)}]", None))
        return items

    def _dict(self, events: Iterator[Any], field: str) -> dict[Any, Node]:
        import yaml

        values: dict[Any, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._node(events, event, field, None)
            name = str(key.value) if isinstance(key.value, list | dict) else key.value
            if name is not key.value:
                self.fault(key, "a key is a single value here; write the mapping as text of Python")
            elif name in values:
                self.fault(key, f"the key '{name}' is given twice; drop one")
            values[name] = self._node(events, next(events), f"{field}.{name}".lstrip("."), key.line)
        return values

    def mapping(self, node: Node | None, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Node]:
        """The fields of a mapping with these keys."""
        if node is None:
            return {}
        if not isinstance(node.value, dict):
            self.fault(node, "a mapping was expected")
            return {}
        known = [*required, *optional]
        for name, value in node.value.items():
            if name not in known:
                self.fault(value, str(UnknownName("key", str(name), known)))
        for name in required:
            if name not in node.value:
                self.fault(Node(None, f"{node.field}.{name}".lstrip("."), node.line), "it is missing; add it")
        return node.value

    def items(self, node: Node | None) -> list[Node]:
        """The items of a list that is not empty."""
        if node is None:
            return []
        if not isinstance(node.value, list) or not node.value:
            self.fault(node, "a list was expected, with an item at least")
            return []
        return node.value

    def text(self, node: Node | None, pattern: str = r"(?s:.*\S.*)", what: str = "text") -> str:
        """Text of the form `pattern`, called `what`."""
        if node is None:
            return ""
        if not isinstance(node.value, str) or not re.fullmatch(pattern, node.value):
            self.fault(node, f"{what} was expected")
            return ""
        return node.value

    def number(self, node: Node | None, default: float, zero: bool = False) -> float:
        """A finite number above 0, or 0 where it may be."""
        if node is None:
            return default
        value = node.value
        if type(value) in (int, float) and math.isfinite(value) and (value > 0 or (zero and value == 0)):
            return float(value)
        self.fault(node, "a number was expected, 0 or more" if zero else "a number above 0 was expected")
        return default

    def whole(self, node: Node | None, default: int) -> int:
        """A whole number from 1."""
        if node is None:
            return default
        if type(node.value) is int and node.value > 0:
            return node.value
        self.fault(node, "a whole number from 1 was expected")
        return default
