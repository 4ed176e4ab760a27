"""Buttons, keys, a pad and a gamepad of one browser tab: what is pressed, and what is held."""

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from nicegui import events, ui

from genie_robo.inference.world import RobotActions
from genie_robo.play.game import GRIPPER_KEY, STEP_M, Action, Key
from genie_robo.play.session import Held, Job, Session
from genie_robo.types import XYZ

_STICK = "stick"
"""What pad, slider and gamepad are as a source: they are added up in the browser."""
_STYLE = """
.key { touch-action: manipulation; user-select: none; -webkit-touch-callout: none; }
.key .q-btn__content { text-transform: none; }
.key kbd { margin-left: .5em; padding: 0 .4em; border: 1px solid #0003; border-radius: 3px;
  font-size: .8em; opacity: .7; }
.q-header .key kbd { border-color: #fff8; color: #fff; opacity: 1; }
.pad { position: relative; width: 9rem; height: 9rem; border: 1px solid #0006; border-radius: 8px;
  touch-action: none; cursor: crosshair;
  background: linear-gradient(#0002, #0002) 50% / 1px 100% no-repeat,
    linear-gradient(#0002, #0002) 50% / 100% 1px no-repeat; }
.knob { position: absolute; left: 50%; top: 50%; width: 1.5rem; height: 1.5rem;
  margin: -.75rem 0 0 -.75rem; border-radius: 50%; background: var(--q-primary);
  pointer-events: none; }
.lift { writing-mode: vertical-lr; direction: rtl; height: 9rem; touch-action: none; }
"""
_SCRIPT = """
(() => {
  const drag = {x: 0, y: 0};
  let lift = 0, sent = "[0,0,0]", wasPressed = false;
  const clamp = (v) => Math.max(-1, Math.min(1, v));
  const round = (v) => Math.round(20 * clamp(v)) / 20 || 0;
  const alive = (v) => (Math.abs(v ?? 0) < 0.15 ? 0 : v);
  const move = (x, y) => {
    [drag.x, drag.y] = [x, y];
    const knob = document.querySelector(".knob");
    if (knob) [knob.style.left, knob.style.top] = [`${50 - 50 * y}%`, `${50 - 50 * x}%`];
  };
  const follow = (event) => {
    const box = event.target.getBoundingClientRect();
    move(clamp(1 - (2 * (event.clientY - box.top)) / box.height),
         clamp(1 - (2 * (event.clientX - box.left)) / box.width));
  };
  const isPad = (event) => event.target.classList?.contains("pad");
  const lower = () => {
    lift = 0;
    for (const slider of document.querySelectorAll(".lift")) slider.value = 0;
  };
  const letGo = () => { move(0, 0); lower(); };
  document.addEventListener("pointerdown", (event) => {
    if (!isPad(event)) return;
    event.target.setPointerCapture(event.pointerId);
    follow(event);
  });
  document.addEventListener("pointermove", (event) => {
    if (isPad(event) && event.target.hasPointerCapture(event.pointerId)) follow(event);
  });
  for (const name of ["pointerup", "pointercancel"]) document.addEventListener(name, letGo);
  const isLift = (event) => event.target.classList?.contains("lift");
  document.addEventListener("input", (event) => {
    if (isLift(event)) lift = Number(event.target.value);
  });
  // Arrow keys change the slider without a pointer that goes up.
  document.addEventListener("change", (event) => { if (isLift(event)) setTimeout(lower, 300); });
  window.addEventListener("blur", () => { letGo(); emitEvent("let_go"); });
  setInterval(() => {
    // Of several open tabs the one in front has the gamepad.
    const pads = document.hasFocus() ? (navigator.getGamepads?.() ?? []) : [];
    const pad = [...pads].find(Boolean);
    const [y, x, , z] = pad ? pad.axes : [];
    const steer = [drag.x - alive(x), drag.y - alive(y), lift - alive(z)].map(round);
    const now = JSON.stringify(steer);
    if (now !== sent) emitEvent("steer", steer);
    sent = now;
    const isPressed = Boolean(pad?.buttons[0]?.pressed);
    if (isPressed && !wasPressed) emitEvent("grip");
    wasPressed = isPressed;
  }, 50);
})();
"""


class Controls:
    """Keys, buttons, pad and gamepad of one browser tab."""

    def __init__(self, session: Session) -> None:
        """Listen to the keyboard and to gamepads; the rest is drawn on demand."""
        self._session, self._tab = session, ui.context.client.id
        self._keys = {key.key: key for key in session.all_keys() if key.key}
        self._steer = np.zeros(3)
        """Along x, y and z, from -1 to 1."""
        ui.add_css(_STYLE)
        ui.add_body_html(f"<script>{_SCRIPT}</script>")
        # Keys must also work while a clicked button has the focus.
        ui.keyboard(on_key=self._on_key, repeating=False, ignore=["input", "select", "textarea"])
        ui.on("let_go", self._let_go)
        ui.context.client.on_disconnect(self._let_go)
        if self.can_steer:
            ui.on("steer", self._on_steer)
            ui.on("grip", self._on_grip)

    @property
    def can_steer(self) -> bool:
        """Whether a pad and a gamepad can move the robot."""
        game = self._session.game
        return RobotActions in game.world.takes and bool(game.action_mask[XYZ].any())

    def draw_button(self, key: Key, *, color: str = "primary") -> None:
        """A button that acts as its key does."""
        button = ui.button(color=color).props("outline dense no-caps").classes("key px-2")
        with button.mark(f"key-{key.name}"):
            ui.label(key.label)
            if key.key not in ("", key.name):
                ui.html(f"<kbd>{key.key}</kbd>", sanitize=False)
        # The click that follows on a pointer has a detail; without one it comes from a keyboard.
        button.on("click", partial(self._on_click, key), args=["detail"])
        if key.action is not None:
            button.on("pointerdown", partial(self._on_pointer, key), args=["button"])
            for name in ("pointerup", "pointerleave", "pointercancel"):
                button.on(name, partial(self._release, key), args=[])

    def draw_pad(self) -> None:
        """A pad for x and y, and a slider for z."""
        with ui.row().classes("items-center gap-3 px-1"):
            pad = ui.element("div").classes("pad").mark("pad")
            pad.props["role"] = "img"
            pad.props["aria-label"] = (
                "pad: drag up and down to move the tool away and back, left and right to its sides"
            )
            with pad:
                ui.element("div").classes("knob")
            slider = ui.element("input").classes("lift").mark("lift")
            slider.props["type"] = "range"
            slider.props.update({"min": -1, "max": 1, "step": 0.05, "value": 0})
            slider.props["aria-label"] = "slider: hold to move the tool up and down"
            ui.label(
                f"drag and hold: up to {100 * STEP_M:.0f} cm per frame; or the sticks of a "
                "gamepad, whose first button is the gripper"
            ).classes("w-40 text-xs opacity-70")

    async def _on_key(self, event: events.KeyEventArguments) -> None:
        modifiers, key = event.modifiers, self._keys.get(event.key.name.lower())
        if key is None:
            return
        if event.action.keyup:
            self._release(key)
        elif not (modifiers.ctrl or modifiers.alt or modifiers.meta):
            await self._press(key, is_held=True)

    async def _on_click(self, key: Key, event: events.GenericEventArguments) -> None:
        if key.action is None or not (event.args or {}).get("detail"):
            await self._press(key, is_held=False)

    async def _on_pointer(self, key: Key, event: events.GenericEventArguments) -> None:
        if event.args.get("button") == 0:
            await self._press(key, is_held=True)

    async def _press(self, key: Key, *, is_held: bool) -> None:
        if key.action is None:
            await self._session.turns.take(Job(key.name, key.press))
            return
        held = Held(owner=self._tab, source=key.name, name=key.name, action=key.action)
        player = self._session.player
        await (player.hold(held) if is_held else player.tap(held))

    def _release(self, key: Key) -> None:
        self._session.player.release(self._tab, key.name)

    def _let_go(self) -> None:
        """Release all that the tab holds."""
        self._steer = np.zeros(3)
        self._session.player.release(self._tab)

    async def _on_steer(self, event: events.GenericEventArguments) -> None:
        steer, was_still = _read_steer(event.args), not self._steer.any()
        if steer is None:
            return
        self._steer = steer
        if not steer.any():
            self._session.player.release(self._tab, _STICK)
        elif was_still:
            stick = Held(owner=self._tab, source=_STICK, name=_STICK, action=self._stick_action)
            await self._session.player.hold(stick)

    def _stick_action(self) -> Action:
        delta = STEP_M * self._steer
        in_cm = ",".join(f"{100 * value:+.1f}" for value in delta)
        return self._session.game.move_action(f"{_STICK}({in_cm})", delta)

    async def _on_grip(self) -> None:
        if GRIPPER_KEY in self._keys:
            await self._press(self._keys[GRIPPER_KEY], is_held=False)


def _read_steer(given: Any) -> Float[np.ndarray, " 3"] | None:
    """Three numbers from -1 to 1; None for anything else that a browser may send."""
    if not isinstance(given, list) or len(given) != 3:
        return None
    if not all(isinstance(value, int | float) and abs(value) <= 1 for value in given):
        return None
    return np.array(given, dtype=np.float64)
