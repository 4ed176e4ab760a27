"""A Markdown page as one HTML file that needs no network and no other file."""

import base64
from html import escape
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

KINDS = {".png": "image/png", ".mp4": "video/mp4"}
"""Files that are put into the page."""
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem;
  color: #222; overflow-wrap: break-word; }
img { max-width: 100%; }
video { display: block; width: 100%; max-width: 640px; image-rendering: pixelated; }
table { border-collapse: collapse; font-size: 14px; display: block; overflow-x: auto; }
th, td { border: 1px solid #ddd; padding: 4px 8px; text-align: left; vertical-align: top; }
td:nth-child(2) { white-space: nowrap; }
@media (max-width: 700px) { td { min-width: 9rem; } td:nth-child(5) { min-width: 20rem; } }
em { color: #555; }
code { background: #f3f3f3; padding: 1px 4px; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}</body>
</html>
"""


def self_contained(markdown: str, *, folder: Path, title: str) -> str:
    """A page of Markdown whose images lie in `folder` as HTML with the images inside.

    An image that is a link to a video becomes the video. HTML in the Markdown is shown as text,
    the page runs no script and loads nothing.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.children:
            token.children = _embed(token.children, folder)
    body = parser.renderer.render(tokens, parser.options, {})
    return PAGE.format(title=escape(title), style=STYLE, body=body)


def _embed(children: list[Token], folder: Path) -> list[Token]:
    """Inline tokens with images and linked videos as data."""
    match children:
        case [Token(type="link_open") as link, Token(type="image") as image, _] if (
            href := str(link.attrGet("href"))
        ).endswith(".mp4"):
            return [_video(image, href, folder)]
    for token in children:
        if token.type == "image":
            token.attrSet("src", _data_url(str(token.attrGet("src")), folder))
    return children


def _video(image: Token, href: str, folder: Path) -> Token:
    source, label = _data_url(href, folder), escape(image.content, quote=True)
    tag = f'<video controls loop muted playsinline src="{source}" aria-label="{label}"></video>'
    return Token("html_inline", "", 0, content=tag)


def _data_url(link: str, folder: Path) -> str:
    """A file inside the folder as data; any other link as it is, which the page does not load."""
    path = (folder / unquote(link)).resolve()
    kind = KINDS.get(path.suffix)
    if kind is None or not path.is_relative_to(folder.resolve()) or not path.is_file():
        return escape(link, quote=True)
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
