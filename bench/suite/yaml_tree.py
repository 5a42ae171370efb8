"""YAML with memory: plain data plus the line of every key, so that a mistake can be pointed at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from yaml.reader import Reader

from bench.errors import BenchError
from bench.suite.words import one_line, shown

# A suite is written by hand; what is larger than this is a mistake or an attack ("billion laughs").
MAX_BYTES = 1_000_000
MAX_NODES = 200_000
MAX_DEPTH = 32

_KINDS = {
    "int": "a whole number that can be read",
    "float": "a number",
    "bool": "true or false",
    "timestamp": "a date",
}

Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Step = str | int


class _Loader(Base):  # type: ignore[misc, valid-type]
    """The safe loader, which also reads `1e-3` as a number (YAML 1.1 takes it for a string)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a suite file: `file:line: path.to.key: what is wrong`."""

    file: str
    line: int
    path: str
    text: str

    def __str__(self) -> str:
        return one_line(f"{self.place}: {self.text}")

    @property
    def place(self) -> str:
        """`file:line: path.to.key`."""
        return f"{self.file}:{self.line}" + (f": {self.path}" if self.path else "")


class SuiteError(BenchError):
    """All mistakes of one suite file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.line, p.path, p.text)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Tree:
    """A parsed file: `data` (plain Python), `text`, and the place of every key."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.problems: list[Problem] = []
        self._unread: list[tuple[Step, ...]] = []
        self._memo: dict[int, object] = {}
        self._open: set[int] = set()
        self._extents: dict[int, tuple[int, int]] = {}
        try:
            self._root, self._loader = self._compose()
        except RecursionError:
            raise self._refused("nested too deeply") from None
        self.data = self._plain(self._root, ()) if self._root is not None else None

    def problem(self, path: Sequence[Step], text: str) -> Problem:
        """A problem at `path`, or at the nearest key above it that the file really has."""
        return Problem(self.file, self._line(path), dotted(path), text)

    def is_unread(self, path: Sequence[Step]) -> bool:
        """Whether `path` is, or is inside, a value that could not be read and is in `problems`."""
        return any(tuple(path[: len(unread)]) == unread for unread in self._unread)

    def _refused(self, text: str, line: int = 1) -> SuiteError:
        return SuiteError([Problem(self.file, line, "", text)])

    def _compose(self) -> tuple[yaml.Node | None, _Loader]:
        strange = Reader.NON_PRINTABLE.search(self.text)
        if strange:
            line = self.text.count("\n", 0, strange.start()) + 1
            raise self._refused(f"not text: it contains the character {strange[0]!r}", line)
        try:
            loader = _Loader(self.text)
            root: yaml.Node | None = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            if "nesting depth" in str(error.problem):  # newer libyaml has a limit of its own
                raise self._refused("nested too deeply", line) from None
            raise self._refused(f"not valid YAML: {self._reason(error, line)}", line) from None
        except (yaml.YAMLError, ValueError) as error:
            raise self._refused(f"not valid YAML: {' '.join(str(error).split())}") from None
        if root is not None:
            size, height = self._extent(root)
            if size > MAX_NODES:
                text = f"too large: more than {MAX_NODES:,} values once its aliases are expanded"
                raise self._refused(text)
            if height > MAX_DEPTH:
                raise self._refused(f"nested too deeply: more than {MAX_DEPTH} levels")
        return root, loader

    def _reason(self, error: yaml.MarkedYAMLError, line: int) -> str:
        """What the parser says, where the thing it was reading began, and a hint at tabs."""
        start = error.context_mark.line + 1 if error.context_mark else line
        begun = f" that begins on line {start}" if error.context and start != line else ""
        context = f"{error.context}{begun}" if error.context else ""
        lines = self.text.split("\n")
        tab = line <= len(lines) and "\t" in lines[line - 1]
        hint = "YAML is not indented with tabs, use spaces" if tab else ""
        said = ", ".join(filter(None, [context, error.problem]))
        return "; ".join(filter(None, [said, hint]))

    def _extent(self, node: yaml.Node) -> tuple[int, int]:
        """Number of values and levels from `node` on, aliases expanded, each node visited once."""
        if id(node) in self._extents:
            return self._extents[id(node)]
        self._extents[id(node)] = 1, 1  # a cycle stops here; _plain reports it
        below: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            below = node.value
        elif isinstance(node, yaml.MappingNode):
            below = [part for pair in node.value for part in pair]
        found = [self._extent(part) for part in below]
        size = 1 + sum(size for size, _ in found)
        self._extents[id(node)] = size, 1 + max((height for _, height in found), default=0)
        return self._extents[id(node)]

    def _plain(self, node: yaml.Node, path: tuple[Step, ...]) -> object:
        if id(node) in self._memo:
            return self._memo[id(node)]
        if id(node) in self._open:
            self._cannot_read(node, path, "an alias that contains itself")
            return None
        self._open.add(id(node))
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            value: object = self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            value = [self._plain(item, (*path, i)) for i, item in enumerate(node.value)]
        elif isinstance(node, yaml.ScalarNode):
            value = self._scalar(node, path)
        else:
            self._tagged(node, path)
            value = None
        self._open.discard(id(node))
        self._memo[id(node)] = value
        return value

    def _mapping(self, node: yaml.MappingNode, path: tuple[Step, ...]) -> dict[str, object]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                text = f"duplicate key (first on line {seen[name]})"
                self._complain(key, (*path, name), text)
            seen.setdefault(name, key.start_mark.line + 1)
        try:
            self._loader.flatten_mapping(node)
        except yaml.YAMLError as error:
            self._cannot_read(node, path, f"not valid YAML: {getattr(error, 'problem', error)}")
            return {}
        found: dict[str, object] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._complain(key, path, "a key must be plain text")
                continue
            found[str(key.value)] = self._plain(value, (*path, str(key.value)))
        return found

    def _scalar(self, node: yaml.ScalarNode, path: tuple[Step, ...]) -> object:
        try:
            value: object = self._loader.construct_object(node)
        except yaml.constructor.ConstructorError:
            self._tagged(node, path)
            return None
        except Exception as error:  # PyYAML lets through whatever int, float or date raises
            kind = node.tag.rpartition(":")[2]
            said = f": {error}" if kind == "timestamp" and isinstance(error, ValueError) else ""
            what = _KINDS.get(kind, kind)
            self._cannot_read(node, path, f"{shown(node.value)} is not {what}{said}")
            return None
        if value is None or isinstance(value, (str, int, float, bool)):
            return value
        return str(node.value)  # a date or binary: no key of a suite is one, so keep the text

    def _tagged(self, node: yaml.Node, path: tuple[Step, ...]) -> None:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        self._cannot_read(node, path, f"the tag '{tag}' is not allowed; suites are plain data")

    def _cannot_read(self, node: yaml.Node, path: tuple[Step, ...], text: str) -> None:
        """Complain, and keep others from complaining about the value that is missing now."""
        self._complain(node, path, text)
        self._unread.append(path)

    def _complain(self, node: yaml.Node, path: Sequence[Step], text: str) -> None:
        line = node.start_mark.line + 1
        self.problems.append(Problem(self.file, line, dotted(path), text))

    def _line(self, path: Sequence[Step]) -> int:
        node, line = self._root, 1
        for step in path:
            key, child = _child(node, step)
            if child is None:
                break
            node = child
            line = (key or child).start_mark.line + 1
        return line


def _child(node: yaml.Node | None, step: Step) -> tuple[yaml.Node | None, yaml.Node | None]:
    """The key node (mappings only) and value node at `step` below `node`."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return None, node.value[step]
    if isinstance(node, yaml.MappingNode):
        # From the end: what a merge (<<) brought in stands first, and the last one counts.
        for key, value in reversed(node.value):
            if key.value == str(step):
                return key, value
    return None, None


def dotted(path: Sequence[Step]) -> str:
    """`("datasets", 0, "name")` as `datasets[0].name`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def read(path: Path) -> Tree:
    """Parse a YAML file.

    Raises:
        BenchError: the file is missing or unreadable.
        SuiteError: it is not YAML.
    """
    shown = str(path)
    try:
        if path.is_dir():
            raise BenchError(f"{shown}: is a folder; name a suite file (YAML)")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise BenchError(f"{shown}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise BenchError(f"{shown}: larger than {MAX_BYTES:,} bytes; not a suite file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8 text (byte 0x{content[error.start]:02x})"
        raise SuiteError([Problem(shown, line, "", what)]) from None
    return Tree(shown, text.replace("\r\n", "\n").replace("\r", "\n"))
