"""Strangers' names made safe: one line, escaped for Markdown or HTML, turned into words."""

from __future__ import annotations

import html
import re
import unicodedata

# Names as they are written elsewhere in prose; any other word of an identifier stays as it is.
_PROPER = {
    "gaussian": "Gaussian",
    "fgm": "FGM",
    "fgsm": "FGSM",
    "pgd": "PGD",
    "deepfool": "DeepFool",
    "jpeg": "JPEG",
    "l2": "L2",
}
_NORMS = {"L0": "L₀", "L1": "L₁", "L2": "L₂", "Linf": "L∞"}
_JOINER = "\u200d"  # holds composed emoji together
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Marks anywhere; underscores unless within a word; what would make a bare address a link; and at
# the start what would begin a list or a rule.
_MARKDOWN = re.compile(
    r"[\\`*\[\]|~$&<>#]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|^[-+=]|(?<=^\d)[.)]",
    re.IGNORECASE,
)
_CODE = re.compile("`([^`]+)`")
_CODE_OR_MARK = re.compile(f"(?P<code>{_CODE.pattern})|{_MARKDOWN.pattern}", re.IGNORECASE)


def printable(text: str) -> str:
    """`text` without characters that cannot be seen (controls, writing-direction overrides).

    Line ends stay, as "\\n"; everything else hidden becomes a space.
    """
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        " " if char not in ("\n", _JOINER) and unicodedata.category(char) in _HIDDEN else char
        for char in unified
    )


def one_line(text: str, limit: int | None = None) -> str:
    """`text` on one line, white space collapsed, shortened in its middle to `limit` characters."""
    line = " ".join(printable(text).split())
    if limit is None or len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail].rstrip()}…{line[len(line) - tail :].lstrip()}"


def markdown(text: str) -> str:
    """`text` as literal Markdown on one line, safe inside a table cell, a heading or a link."""
    return _MARKDOWN.sub(_escaped, one_line(text))


def _escaped(found: re.Match[str]) -> str:
    return _ENTITIES.get(found[0], "\\" + found[0])


def markdown_prose(text: str) -> str:
    """As `markdown`, outside of tables: what stands between backticks is code."""
    return _CODE_OR_MARK.sub(
        lambda found: found[0] if found["code"] else _escaped(found), one_line(text)
    )


def fenced(text: str, language: str = "") -> str:
    """`text` as a Markdown code block; the fence outgrows any run of backticks within."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{printable(text).strip(chr(10))}\n{fence}"


def html_text(text: str) -> str:
    """`text` on one line, escaped for HTML content and quoted attributes."""
    return html.escape(one_line(text))


def html_prose(text: str) -> str:
    """As `html_text` for content alone: what stands between backticks is code."""
    return _CODE.sub(r"<code>\1</code>", html_text(text))


def html_block(text: str) -> str:
    """`text` escaped for HTML with its lines and indentation kept."""
    return html.escape(printable(text).strip("\n"))


def words(identifier: str) -> str:
    """An identifier as a title: "gaussian_blur" is "Gaussian blur"."""
    parts = one_line(identifier.replace("_", " ")).split(" ")
    return capital(" ".join(_PROPER.get(part.lower(), part) for part in parts))


def strength(norm: str, epsilon: float) -> str:
    """An epsilon with its norm: "L₂ 0.5", "L∞ 8/255"."""
    levels = round(epsilon * 255)
    whole = norm == "Linf" and levels > 0 and abs(epsilon * 255 - levels) < 1e-3
    number = f"{levels}/255" if whole else f"{epsilon:.3g}"
    return f"{_NORMS.get(norm, norm)} {number}".strip()


def capital(text: str) -> str:
    """`text` with its first letter large and the others as they are."""
    return text[:1].upper() + text[1:]


def said(*sentences: str) -> str:
    """Those sentences that say something, one after the other."""
    return " ".join(sentence for sentence in sentences if sentence)


def slug(name: str, taken: set[str]) -> str:
    """A file name (without ending) for `name`, different from all in `taken`; adds itself there."""
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-") or "data"
    candidate, number = stem, 1
    while candidate in taken:
        number += 1
        candidate = f"{stem}-{number}"
    taken.add(candidate)
    return candidate
