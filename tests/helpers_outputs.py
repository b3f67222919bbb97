"""Every text that an output of the program has for somebody: terminal, exports, pages, the viewer's server."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import aiohttp
from click.testing import CliRunner
from yarl import URL

from mesh.cli.app import make_root
from mesh.cli.export import FORMATS
from mesh.loading import scenarios_of
from mesh.viewer.answers import ANSWERS
from mesh.viewer.connection import Runner
from mesh.viewer.folder import Folder
from mesh.viewer.server import Viewer
from mesh.viewer.serving import listen

_UNSHOWN: Final = ("style", "script")
_PRINTABLE: Final = re.compile(r"[^\x00-\x1f\x7f]{3,}")
_STATIC: Final = ("titles", "codes")
"""Where the viewer says what each code of the table means, whatever the run."""


class Text(NamedTuple):
    """One text of an output, and where in it: a path into JSON, or the number of a line."""

    output: str
    place: str
    text: str


class Looker(NamedTuple):
    """Who looks: a perspective, and what to ask of it."""

    name: str
    messages: tuple[str, ...]
    """Messages that are shown in full, by the numbers that they have for who looks."""
    handle: str
    """A resident, whose page is asked for."""
    bodies: tuple[str, str]
    """Two bodies, of whom it is asked what they could join."""


def pages_of(looker: Looker, *, once: bool = False) -> Iterator[str]:
    """The address of every page that the viewer has, with its query, as somebody; with one query of each, or several."""
    first, second = looker.bodies
    queries: dict[str, tuple[str, ...]] = {
        "/rows": ("", "limit=500", "whole=1", "kind=refusal"),
        "/position": ("index=0",),
        "/map": ("", "from_us=0&to_us=99999999"),
        "/timeline": ("bins=9",),
        "/resident/{handle}": ("", "hidden=1"),
        "/joins": (f"first={quote(first)}&second={quote(second)}",),
    }
    for address in ANSWERS:
        if address == "/message/{index}":
            yield from (f"/message/{number}?as={quote(looker.name)}" for number in looker.messages)
            continue
        for query in queries.get(address, ("",))[: 1 if once else None]:
            path = address.format(handle=looker.handle)
            yield f"{path}?as={quote(looker.name)}{'&' if query else ''}{query}"


Output = Callable[[Path, Looker], Iterator[Text]]


def _shown(*options: str) -> Output:
    """What `trace show` prints, on stdout and on stderr."""
    return lambda path, looker: _call(("show", str(path), *options, "--as", looker.name))


def _messages(*options: str) -> Output:
    """Each message in full."""

    def said(path: Path, looker: Looker) -> Iterator[Text]:
        for one in looker.messages:
            yield from _call(("show", str(path), "--message", one, *options, "--as", looker.name))

    return said


def _history(path: Path, looker: Looker) -> Iterator[Text]:
    """A resident's own history."""
    if looker.name == looker.handle:
        for options in ((), ("--json",)):
            yield from _call(("history", str(path), "--person", looker.handle, *options))


def _pages(path: Path, looker: Looker) -> Iterator[Text]:
    """What `trace page` prints of every page."""
    for page in pages_of(looker, once=True):
        address, _, query = page.partition("?")
        yield from _call(("page", str(path), f"{address.lstrip('/')}?{query}"))


def _export(form: str) -> Output:
    """A trace in another format."""
    return lambda path, looker: _call(("export", str(path), "--to", form, "--as", looker.name), form)


OUTPUTS: Final[dict[str, Output]] = {
    "list": _shown(),
    "list as JSON": _shown("--json"),
    "sequence": _shown("--sequence"),
    "sequence of members": _shown("--sequence", "--members"),
    "messages": _messages(),
    "messages as JSON": _messages("--json"),
    "history": _history,
    "pages": _pages,
    **{form: _export(form) for form in FORMATS},
}
"""Every output that a command writes; the viewer's server is asked by `served`."""


def _call(arguments: tuple[str, ...], form: str = "") -> Iterator[Text]:
    done = CliRunner().invoke(make_root(nodes=None, scenarios=None), ["trace", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    name = " ".join((arguments[0], *arguments[2:]))
    for number, line in enumerate(done.stderr.splitlines()):
        yield Text(f"{name} (stderr)", str(number), line.replace(str(arguments[1]), ""))
    if done.exit_code == 0:
        yield from (Text(name, place, one) for place, one in _texts(done.stdout_bytes, form))


def _texts(data: bytes, form: str) -> Iterator[tuple[str, str]]:
    said = data.decode("utf-8", "replace")
    if form == "html":
        page = _Page()
        page.feed(said)
        yield from ((str(number), one) for number, one in enumerate(page.texts))
    elif form == "perfetto":
        yield from ((str(one.start()), one[0]) for one in _PRINTABLE.finditer(said))
    elif said.startswith(("{", "[")):
        for number, document in enumerate(_documents(said)):
            yield from _leaves(document, f"{number}")
    else:
        yield from ((str(number), one) for number, one in enumerate(said.splitlines()))


def _documents(said: str) -> Iterator[Any]:
    """A whole document, or one in each line."""
    try:
        yield json.loads(said)
    except ValueError:
        yield from map(json.loads, said.splitlines())


def _leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, one in value.items():
            if (place.rpartition(".")[2], name) == _STATIC:
                continue
            yield f"{place}.{name}", name
            yield from _leaves(one, f"{place}.{name}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _leaves(one, f"{place}.{number}")
    elif value is not None and not isinstance(value, bool):
        yield place, str(value)


class _Page(HTMLParser):
    """The texts of a page: what is written between its tags, and said of them."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._within: list[str] = []
        self._goes_on = False
        """Whether a line may break here, and the text goes on."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = [tag] if tag in _UNSHOWN else []
        self._goes_on = tag == "wbr"
        self.texts += [value for name, value in attrs if name in ("title", "aria-label", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        self._within, self._goes_on = [], False

    def handle_data(self, data: str) -> None:
        if self._goes_on:
            self.texts[-1] += data
        elif data.strip() and not self._within:
            self.texts.append(data)


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[Any]:
    """The viewer's server over one trace: looker → every text that it says to them."""
    known = scenarios_of("scenarios")
    viewer = Viewer(Folder(path.parent, path.name, known), known)
    runner = Runner(viewer.app())
    await runner.setup()
    await listen(viewer, runner, 0)
    root = f"http://127.0.0.1:{viewer.guard.port}/api/t/{path.name}"

    async def said(looker: Looker) -> list[Text]:
        found: list[Text] = []
        for page in pages_of(looker):
            async with session.get(URL(root + page, encoded=True)) as answer:
                found += (Text(f"viewer {page}", *one) for one in _leaves(await answer.json(), ""))
        return found

    try:
        async with aiohttp.ClientSession() as session:
            yield said
    finally:
        await runner.cleanup()
