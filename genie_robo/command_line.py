r"""Strings as the words of a command line, so that the shell and the parser give them back.

A setting that is a string takes its value as typed: `path=1.10` is the folder `1.10`. What has a
meaning is a value that is quoted as a whole, `~` at its start, `${NAME}` (the value of another
setting; `\${` is literal), and in lists `[A,B]` the comma.
"""

import re
import shlex
from collections.abc import Iterator, Sequence

_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_WHOLE = re.compile(_QUOTED, re.DOTALL)
_STRUCTURE = re.compile(
    # A quoted value counts where a value begins, and only if it ends where the value ends.
    rf"(?:\A|(?<=[\[{{,:]))\s*(?:{_QUOTED})(?=\s*(?:[\]}},]|\Z))|[\[\]{{}},]",
    re.DOTALL,
)
_ADDRESS = re.compile(
    r"""(?P<protocol>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^/\s?#'"]*@)?(?P<place>[^\s?#'"]*)(?:[?#][^\s'"]*)?"""
)
_SPECIAL_IN_LISTS = re.compile(r"""[,\[\]{}'"]|^\s|\s$|^$""")


def printable(text: str) -> str:
    """Text whose control characters are written out, so that a terminal does not obey them.

    Lines and tabs stay.
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def is_address(path: str) -> bool:
    """Whether a path is the address of a remote folder, such as https://SERVER/FOLDER."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)", path) is not None


def without_secrets(text: str) -> str:
    """Text whose addresses have no user, no password, and nothing behind a `?`."""
    return _ADDRESS.sub(r"\g<protocol>\g<place>", text)


def command_line(*words: str) -> str:
    """A command of `genie-robo` to paste into a shell."""
    return shlex.join(["genie-robo", *words])


def write_setting(key: str, value: object) -> str:
    """`KEY=VALUE`, which reads as this string, path or list of them; not yet quoted for a shell."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{key}={write_list([str(item) for item in value])}"
    return f"{key}={write_text(str(value))}"


def write_list(texts: Sequence[str]) -> str:
    """`[A,B]` with quotes around what would be misread."""
    return f"[{','.join(_write_item(text) for text in texts)}]"


def write_text(text: str) -> str:
    """A string as it has to be typed: as it is, unless it would be read as something else."""
    has_meaning = is_quoted(text) or text.startswith(("~", "[")) or text == "null"
    return quote_text(literal(text)) if has_meaning else literal(text)


def literal(text: str) -> str:
    """Text in which `${` does not refer to another setting."""
    return re.sub(r"(\\*)\$\{", lambda found: rf"{found[1] * 2}\${{", text)


def quote_text(text: str) -> str:
    """Text in single quotes, in which only backslashes before a quote are special."""
    inside = re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + (r"\'" if found[2] else ""), text)
    return f"'{inside}'"


def is_quoted(typed: str) -> bool:
    """Whether a whole value is in quotes."""
    return _WHOLE.fullmatch(typed) is not None


def is_list(typed: str) -> bool:
    """Whether a value is `[...]`, its first bracket closed by the last one."""
    if not typed.startswith("["):
        return False
    closed = next((end for end, _, depth in _structure(typed) if depth == 0), None)
    return closed == len(typed)


def split_values(typed: str) -> list[str]:
    """The values between commas outside of quotes and brackets.

    Where brackets do not match they are ordinary characters.
    """
    structure = list(_structure(typed))
    depths = [depth for _, _, depth in structure]
    if depths and (depths[-1] != 0 or min(depths) < 0):
        return typed.split(",")
    cuts = [end for end, mark, depth in structure if mark == "," and depth == 0]
    starts = [0, *cuts]
    ends = [cut - 1 for cut in cuts] + [len(typed)]
    return [typed[start:end] for start, end in zip(starts, ends, strict=True)]


def _structure(typed: str) -> Iterator[tuple[int, str, int]]:
    """End of every quoted value, bracket and comma, what it is, and the depth behind it."""
    depth = 0
    for found in _STRUCTURE.finditer(typed):
        mark = found[0]
        depth += (mark in ("[", "{")) - (mark in ("]", "}"))
        yield found.end(), mark, depth


def _write_item(text: str) -> str:
    return quote_text(literal(text)) if _SPECIAL_IN_LISTS.search(text) else write_text(text)
