"""The web page of a game: frames, keys, the actions so far and prompts, and its server."""

import asyncio
import base64
import gc
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Bool, UInt8
from nicegui import Client, app, core, events, run, ui
from starlette.responses import PlainTextResponse

from genie_robo.data.images import png_bytes
from genie_robo.inference.world import Codes, Prompt
from genie_robo.play.access import MAX_MESSAGE_BYTES, MAX_UPLOAD_BYTES, Access
from genie_robo.play.address import LOCAL_NAMES
from genie_robo.play.controls import Controls
from genie_robo.play.game import Action, Game, Key, code_keys, robot_keys
from genie_robo.play.session import EXPECTED, Job, Session, Turns
from genie_robo.play.sockets import SocketGuard
from genie_robo.types import END_EFFECTOR, GRIPPER, JOINTS, ROTATION, XYZ, action_names

THUMBNAILS = 9
"""Test episodes shown at once."""
MAX_TABS = 32
UNCONNECTED_S = 20.0
"""A page whose browser opened no socket for so long was closed, or was never in a browser."""
TIDY_S = 10.0
"""How often the memory of closed pages is freed."""
_PRIMARY = "#1e5a96"
"""Readable on white, and white on it."""
_CSS = """
.q-uploader__subtitle, .q-uploader__list { display: none; }
.pixels { display: block; width: 100%; image-rendering: pixelated; background: #0002; }
:is(button, a, .q-tab, input):focus-visible { box-shadow: 0 0 0 3px #b45309 !important; }
"""


class Page:
    """The page in one browser tab."""

    def __init__(self, session: Session) -> None:
        self._session = session
        ui.add_css(_CSS)
        ui.colors(primary=_PRIMARY)
        self._controls = Controls(session)
        self._draw_header()
        # Side by side on wide screens, below each other on phones.
        with ui.element("main").classes("w-full flex flex-nowrap flex-col lg:flex-row gap-4"):
            with ui.column().classes("grow w-full min-w-0 gap-3"):
                self._draw_frames()
                self._draw_numbers()
                self._draw_keys()
            with ui.column().classes("w-full lg:w-80 shrink-0 gap-4"):
                with ui.card().classes("w-full gap-2"):
                    self._draw_prompts()
                with ui.card().classes("w-full gap-2"):
                    self._actions_title = ui.label().classes("font-medium")
                    self._actions = ui.label().classes("actions max-h-40 overflow-auto")
        session.changed.subscribe(self.refresh)
        session.said.subscribe(self._say)
        self.refresh()

    def refresh(self) -> None:
        """Show the game as it is."""
        session, game = self._session, self._session.game
        now, true = game.now, game.now.true_frame
        count = len(game.actions)
        title = "prompt, as given" if true is None else "MuJoCo, the same actions"
        _show(self._imagined, now.frame, f"imagined frame {count}")
        _show(self._true, game.prompt.frames[-1] if true is None else true, f"{title}, {count}")
        self._true_title.set_text(title)
        self._true_note.set_text(_describe(game))
        self._numbers["frame"].set_text(str(count))
        self._numbers["latency"].set_text(f"{1000 * now.latency_s:.0f} ms")
        self._numbers["frames per second"].set_text(f"{game.frames_per_second:.1f}")
        self._numbers["uncertainty"].set_text(f"{now.uncertainty:.2f} nats")
        self._numbers["trust"].set_text("not known" if now.trust is None else f"{now.trust:.2f}")
        self._actions_title.set_text(f"actions from {game.prompt.title}")
        self._actions.set_text(", ".join(action.name for action in game.actions) or "none yet")
        self._status.set_text(_status(session.turns))
        self._status.props(f"color={'orange' if session.turns.running else 'green'}")

    def _draw_header(self) -> None:
        with ui.header().classes("items-center py-1 px-4 gap-x-4 gap-y-0"):
            ui.label("genie-robo play").classes("text-lg")
            ui.label(self._session.title).classes("max-w-full truncate")
            ui.label("one game, shared by all open tabs").classes("text-sm")
            ui.space()
            # Not with the other keys, of which on phones all have to be on the first screen.
            with ui.row().classes("gap-2 flex-nowrap"):
                for key in self._session.own_keys():
                    self._controls.draw_button(key, color="white")
            self._status = ui.badge().classes("status px-3 py-1 text-sm")
            self._status.props["role"] = "status"

    def _draw_frames(self) -> None:
        # Not so large that the buttons below are out of sight.
        with ui.grid(columns=2).classes("w-full max-w-[95vh] gap-2 lg:gap-4"):
            with ui.column().classes("gap-1"):
                ui.label("imagined").classes("font-medium")
                self._imagined = ui.element("img").classes("pixels imagined")
            with ui.column().classes("gap-1"):
                self._true_title = ui.label().classes("font-medium")
                self._true = ui.element("img").classes("pixels true")
        self._true_note = ui.label().classes("note text-sm opacity-70")

    def _draw_numbers(self) -> None:
        self._numbers = {}
        # On phones below the keys, so that these are on the first screen with the frames.
        with ui.row().classes("gap-x-8 gap-y-2 order-last lg:order-none"):
            for name in ("frame", "latency", "frames per second", "uncertainty", "trust"):
                with ui.column().classes("gap-0"):
                    ui.label(name).classes("text-xs opacity-60")
                    marker = name.replace(" ", "-")
                    self._numbers[name] = ui.label().classes(f"{marker} text-lg").mark(marker)

    def _draw_keys(self) -> None:
        game = self._session.game
        with ui.grid().classes("w-full grid-cols-1 sm:grid-cols-[6rem_1fr] gap-y-2 items-center"):
            self._draw_row("robot", robot_keys(game), note=self._session.note)
            self._draw_row("latent action", code_keys(game))
            if self._controls.can_steer:
                ui.label("by hand").classes("text-sm opacity-70")
                self._controls.draw_pad()

    def _draw_row(self, name: str, keys: Sequence[Key], *, note: str = "") -> None:
        if not keys:
            return
        ui.label(name).classes("text-sm opacity-70")
        with ui.row().classes("items-center gap-2 max-h-36 overflow-auto p-1"):
            for key in keys:
                self._controls.draw_button(key)
            if note:
                ui.label(note).classes("max-w-80 text-xs opacity-70")

    def _draw_prompts(self) -> None:
        ui.label("start from").classes("font-medium")
        with ui.tabs().props("dense no-caps").classes("w-full") as tabs:
            episode, scene, image = (ui.tab(name) for name in ("episode", "scene", "image"))
        with ui.tab_panels(tabs, value=episode).classes("w-full"):
            with ui.tab_panel(episode).classes("p-0"):
                self._draw_episodes()
            with ui.tab_panel(scene).classes("p-0"):
                self._draw_scene()
            with ui.tab_panel(image).classes("p-0"):
                self._draw_upload()

    def _draw_episodes(self) -> None:
        count = self._session.prompts.num_episodes
        ui.label(f"test episodes 0 to {count - 1}").classes("text-sm opacity-70")
        self._thumbnails = ui.grid(columns=3).classes("w-full gap-2")
        self._thumbnails_lock, self._thumbnails_page = asyncio.Lock(), 0
        num_pages = -(-count // THUMBNAILS)
        if num_pages > 1:
            ui.pagination(1, num_pages, on_change=self._on_page)
        ui.timer(0, partial(self._show_episodes, 0), once=True)

    async def _on_page(self, event: events.ValueChangeEventArguments[int | None]) -> None:
        await self._show_episodes((event.value or 1) - 1)

    async def _show_episodes(self, page: int) -> None:
        self._thumbnails_page = page
        async with self._thumbnails_lock:
            if page == self._thumbnails_page:  # otherwise another page was chosen in the meantime
                await self._draw_thumbnails(page)

    async def _draw_thumbnails(self, page: int) -> None:
        prompts = self._session.prompts
        first = page * THUMBNAILS
        numbers = range(first, min(first + THUMBNAILS, prompts.num_episodes))

        def prompt(number: int) -> Prompt:
            return prompts.episode(number).prompt

        images = await run.io_bound(lambda: [data_url(prompt(n).frames[0]) for n in numbers])
        self._thumbnails.clear()
        with self._thumbnails:
            for number, image in zip(numbers, images or [], strict=False):
                with ui.element("button") as thumbnail:
                    picture = ui.element("img").classes("pixels thumbnail")
                    picture.props.update({"src": image, "alt": f"start from test episode {number}"})
                    ui.label(str(number)).classes("text-xs")
                thumbnail.on("click", partial(_start, self._session, partial(prompt, number)))

    def _draw_scene(self) -> None:
        ui.label("a fresh simulator scene").classes("text-sm opacity-70")
        seed = ui.number("seed", value=0, min=0, precision=0).classes("w-full")

        async def start() -> None:
            chosen = seed.value
            await _start(self._session, lambda: _scene(self._session, chosen))

        ui.button("start", on_click=start).props("outline no-caps").mark("start-scene")

    def _draw_upload(self) -> None:
        ui.label("any image, JPEG or PNG").classes("text-sm opacity-70")

        # No method of this page: FastAPI keeps the route of an upload, and all it refers to.
        ui.upload(
            label="choose or drop a file",
            on_upload=partial(_start_from_image, self._session),
            on_rejected=partial(_notify, "this is no JPEG or PNG below 20 MB"),
            max_file_size=MAX_UPLOAD_BYTES,
            auto_upload=True,
        ).props("accept='.jpg,.jpeg,.png' flat").classes("w-full")

    def _say(self, text: str) -> None:  # a method, because each page unsubscribes its own
        _notify(text)


def _show(image: ui.element, frame: UInt8[np.ndarray, "h w c"], alt: str) -> None:
    image.props.update({"src": data_url(frame), "alt": alt})


async def _start(session: Session, prompt: Callable[[], Prompt]) -> None:
    await session.turns.take(Job("start", partial(session.start, prompt)))


def _scene(session: Session, seed: float | int | None) -> Prompt:
    number = float(seed or 0)
    if not 0 <= number < 2**32:
        raise ValueError(f"seed {seed} of a scene must be between 0 and {2**32 - 1}")
    return session.prompts.scene(int(number)).prompt


async def _start_from_image(session: Session, upload: events.UploadEventArguments) -> None:
    """Read the image before it takes its turn, so that the game is playable meanwhile."""
    if session.reading.locked():
        _notify(f"busy: {upload.file.name} was not taken, another image is being read")
        return
    try:
        async with session.reading:
            files = [(upload.file.name, await upload.file.read())]
            clip = await run.io_bound(session.prompts.images, files)
    except EXPECTED as error:
        _notify(str(error))
        return
    if clip is not None:  # None when the server is stopping
        await _start(session, lambda: clip.prompt)


def _notify(text: str) -> None:
    ui.notify(text, position="bottom-right", multi_line=True)


def data_url(frame: UInt8[np.ndarray, "h w c"]) -> str:
    """A frame as a PNG inside a URL."""
    return f"data:image/png;base64,{base64.b64encode(png_bytes(frame)).decode()}"


def _status(turns: Turns) -> str:
    if turns.running is None:
        return "ready"
    waiting = f", {turns.waiting.name} waits" if turns.waiting else ""
    return f"busy: {turns.running.name}{waiting}"


def _describe(game: Game) -> str:
    """The note below the frames: what MuJoCo executed, or why there is no true frame."""
    now = game.now
    if now.true_frame is not None:
        code = None if now.code is None else game.code_names[now.code]
        done = now.action and _describe_action(
            now.action, code, game.action_mask, game.prompt.joint_names
        )
        return f"MuJoCo executed {done}" if done else game.prompt.instruction
    if not game.prompt.is_simulated:
        return "This prompt has no simulator state, so there is no true frame."
    return "MuJoCo cannot execute codes without an action map, so there is no true frame."


def _describe_action(
    action: Action,
    code: str | None,
    mask: Bool[np.ndarray, " a"],
    joint_names: Sequence[str] = (),
) -> str:
    """An action in words; of a dataset without an end effector the joints alone."""
    if action.robot_action is None:
        return action.name
    names = action_names(len(action.robot_action), joint_names)
    named = list(zip(names, action.robot_action, strict=True))
    parts = _describe_tool(named) if mask[END_EFFECTOR].any() else []
    parts += [f"{name} {value:+.2f}" for name, value in named[JOINTS]]
    as_code = "" if code is None else f", which the model took as code {code}"
    is_code = isinstance(action.given, Codes)
    whose = f"the mean motion of code {action.name}" if is_code else f"{action.name}{as_code}"
    return f"{whose}: {', '.join(parts)}"


def _describe_tool(named: Sequence[tuple[str, float]]) -> list[str]:
    """Centimetres, degrees (unless all are below half of one) and gripper opening."""
    parts = [f"{name} {100 * value:+.1f} cm" for name, value in named[XYZ]]
    if max(abs(value) for _, value in named[ROTATION]) >= np.radians(0.5):
        parts += [f"{name} {np.degrees(value):+.0f}°" for name, value in named[ROTATION]]
    return [*parts, f"gripper {named[GRIPPER][1]:.1f}"]


def serve(
    session: Session,
    *,
    host: str,
    port: int,
    browser: bool,
    announce: Callable[[str], None],
    names: frozenset[str] = LOCAL_NAMES,
) -> None:
    """Play in a web page; returns or raises KeyboardInterrupt when the server is stopped.

    Args:
        session: The game.
        host: Address to listen on.
        port: One that `free_port` gave.
        browser: Open the page.
        announce: Gets the address before the first page, and the speed at the end.
        names: Under which browsers may open the page, of `served_names`.
    """
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    app.on_startup(lambda: announce(f"play: {address}\nCtrl-C stops it"))
    _set_limits(names)
    try:
        ui.run(
            lambda: show_page(session),
            host=host,
            port=port,
            title=f"play {session.title}",
            language="en-GB",
            show=browser,
            reload=False,
            show_welcome_message=False,
            timeout_graceful_shutdown=1,
            limit_concurrency=8 * MAX_TABS,
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,  # the limit counts bytes before they are inflated
        )
    finally:
        session.turns.call(session.game.close)
        session.turns.close()
        announce(session.game.speed)


def _set_limits(names: frozenset[str]) -> None:
    """Limit who may ask, how much, and the memory of pages; once for a server, before it starts."""
    app.add_middleware(Access, names=names)
    SocketGuard(core.sio, max_sockets=2 * MAX_TABS)
    app.timer(TIDY_S, free_closed_pages)
    gc.freeze()  # so that freeing closed pages need not search the world model


def show_page(session: Session) -> PlainTextResponse | None:
    """Draw the page for a new browser tab, or refuse it where too many are open."""
    if len(Client.instances) > MAX_TABS:
        Client.prune_instances(client_age_threshold=UNCONNECTED_S)
    if len(Client.instances) > MAX_TABS:  # this one counts
        ui.context.client.delete()
        return PlainTextResponse(
            f"play shows at most {MAX_TABS} tabs, and as many are open; close one, wait "
            f"{UNCONNECTED_S:.0f} seconds and reload this page\n",
            status_code=503,
        )
    Page(session)
    return None


def free_closed_pages() -> None:
    """Forget pages that no browser shows; the rest are closed by NiceGUI when their socket is."""
    Client.prune_instances(client_age_threshold=UNCONNECTED_S)
    gc.collect()  # their elements refer to each other
