"""Does imagination follow the latent action? Measured with those of other episodes (donors)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from genie_robo.eval_suites.base import EvalContext, why_unavailable
from genie_robo.eval_suites.metrics.regression import predict_by_ridge
from genie_robo.eval_suites.probes.imagined import clip_window, probed_clips, sum_over_clips
from genie_robo.eval_suites.probes.scores import Probe
from genie_robo.eval_suites.rollouts import ROBOT_ACTIONS_ONLY, Clip, imagine, stable_seed
from genie_robo.eval_suites.statistics import r2_fraction
from genie_robo.eval_suites.table import Measurement, Sums, Table, undefined
from genie_robo.inference.world import Actions, Codes, Latents

DISTANCES = ("near", "middle", "far")
ALL, NEXT = "all", "next"
"""All donors together; the true next frame instead of an imagined one."""
NAMES = ("utilisation", *(f"utilisation/{distance}" for distance in DISTANCES))
PROTOCOL = (
    "one frame is imagined from a prompt under the latent action of a donor, a transition of "
    "another test episode; donors are drawn from the nearest, middle and farthest third by the "
    "distance of their latent from the prompt's own; the latent inferred from the prompt to the "
    "imagined frame, both as the tokenizer shows them, is read by the probe; R2 against the "
    "donor's motion, over the R2 of the probe on the donor's own latent action; own_motion: the "
    "same if the prompt's own motion were imagined; ceiling: the same reading of the true next "
    "frame against the true motion; interval over the prompts' episodes"
)


def utilisation_measurements(
    context: EvalContext, probe: Probe, *, num_clips: int, batch_size: int, suite: str
) -> tuple[Table | None, dict[str, Measurement]]:
    """Share of what the probe reads from donors' latent actions that imagination shows."""

    def unavailable(reason: str) -> tuple[None, dict[str, Measurement]]:
        missing = undefined(reason, unit="share", protocol=PROTOCOL)
        return None, dict.fromkeys(NAMES, missing)

    if reason := why_unavailable(context.encoder):
        return unavailable(reason)
    if not context.takes_codes:
        return unavailable(ROBOT_ACTIONS_ONLY)
    clips = probed_clips(context, probe.test, num_clips=num_clips, horizon=1, name=suite)
    if not clips or probe.test.num_episodes < 2:
        return unavailable("there are no two test episodes of two frames")
    own = _rows_of(probe, clips, stride=context.test.frame_stride)
    donors = draw_donors(probe, own, seed=context.seed)
    shown = _imagine(context, probe, clips, donors, batch_size=batch_size, suite=suite)
    table = _table(context, probe, clips, own, donors, _read(context, probe, clips, shown))
    return table, _measurements(table, probe.motion.names)


def draw_donors(probe: Probe, own: Int[np.ndarray, " m"], *, seed: int) -> Int[np.ndarray, "m 3"]:
    """For the transition of every prompt one of another episode from each third by distance."""
    data, drawn = probe.test, []
    for row in own:
        others = np.flatnonzero(data.episode != data.episode[row])
        distance = np.linalg.norm(data.latents[others] - data.latents[row], axis=1)
        thirds = np.array_split(others[np.argsort(distance, kind="stable")], len(DISTANCES))
        rng = np.random.default_rng(stable_seed("donors", seed, int(row)))
        drawn.append([rng.choice(third if len(third) else others) for third in thirds])
    return np.array(drawn)


def _rows_of(probe: Probe, clips: Sequence[Clip], *, stride: int) -> Int[np.ndarray, " m"]:
    """The transition from the prompt to the next frame, as a row of the test split."""
    episodes = [probe.test.episode_ids.index(clip.window.episode_id) for clip in clips]
    steps = [clip.window.start // stride + clip.num_prompt_frames - 1 for clip in clips]
    return np.searchsorted(probe.test.episode, episodes) + steps


def _imagine(
    context: EvalContext,
    probe: Probe,
    clips: Sequence[Clip],
    donors: Int[np.ndarray, "m 3"],
    *,
    batch_size: int,
    suite: str,
) -> UInt8[np.ndarray, "m 3 1 h w c"]:
    """The next frame of every prompt under each of its donors."""
    by: type[Actions] = Latents if context.takes_latents else Codes
    known = probe.test.latents if by is Latents else probe.test.codes
    prompts = [clip.prompt for clip in clips for _ in DISTANCES]
    frames = imagine(
        context,
        prompts,
        known[donors.ravel()][:, None],
        # All donors of a prompt share the sampler's noise.
        [stable_seed("sampler", context.seed, clip.key) for clip in clips for _ in DISTANCES],
        by=by,
        batch_size=batch_size,
        description=f"{suite}: donors",
    )
    return frames.reshape(len(clips), len(DISTANCES), *frames.shape[1:])


def _read(
    context: EvalContext,
    probe: Probe,
    clips: Sequence[Clip],
    shown: UInt8[np.ndarray, "m 3 1 h w c"],
) -> Float[np.ndarray, "m 4 d"]:
    """What the probe reads from the prompt to each imagined frame, then to the true next one."""
    rebuild = context.tokenizer.reconstruct
    latents = []
    for clip, frames in zip(clips, shown, strict=True):
        prompt = rebuild(clip.prompt.frames[-1:]).video
        pairs = [np.concatenate([prompt, frame]) for frame in frames]
        pairs.append(rebuild(clip.window.video[-2:]).video)
        latents += [context.encoder.encode(clip_window(clip, pair)).latents[0] for pair in pairs]
    return _probed(probe, np.stack(latents)).reshape(len(clips), len(DISTANCES) + 1, -1)


def _probed(probe: Probe, latents: Float[np.ndarray, "m e"]) -> Float[np.ndarray, "m d"]:
    return predict_by_ridge(probe.fit.latents, probe.fit_targets, latents, groups=probe.fit.episode)


def _table(
    context: EvalContext,
    probe: Probe,
    clips: Sequence[Clip],
    own: Int[np.ndarray, " m"],
    donors: Int[np.ndarray, "m 3"],
    read: Float[np.ndarray, "m 4 d"],
) -> Table:
    """Squared errors of every reading, by distance of the donor."""
    test = probe.test
    given = (
        _probed(probe, test.latents)
        if context.takes_latents
        else probe.predict(probe.fit.codes, test.codes)
    )
    meant = np.concatenate([donors, own[:, None]], axis=1)
    truth = probe.targets[meant]
    guesses = {
        "imagined": read,
        "given": given[meant],
        "deviation": probe.mean,
        "own": probe.targets[own][:, None],
    }
    table = Table(test.episode_ids, motion=["utilisation"] * test.num_episodes)
    for name, guess in guesses.items():
        errors = np.moveaxis(sum_over_clips(table, clips, (guess - truth) ** 2), 1, 0)
        by_kind = dict(zip((*DISTANCES, NEXT), errors, strict=True))
        for kind, sums in (by_kind | {ALL: errors[: len(DISTANCES)].sum(axis=0)}).items():
            table.add_squares(f"utilisation_{name}_{kind}", sums, probe.motion.names)
    return table


def _measurements(table: Table, dimensions: Sequence[str]) -> dict[str, Measurement]:
    """R2 of each reading over that of the probe on the latent actions that were given."""

    def fraction(part: str, kind: str) -> Sums:
        columns = [
            [f"squared_utilisation_{each}_{kind}_{d}" for d in dimensions]
            for each in (part, "given", "deviation")
        ]
        return table.total(columns, r2_fraction)

    return {
        name: Measurement(
            of=fraction("imagined", kind),
            unit="share",
            protocol=PROTOCOL,
            baselines={"own_motion": fraction("own", kind)},
            ceiling=fraction("imagined", NEXT),
            reason="the probe explains nothing of the donors' motion",
        )
        for name, kind in zip(NAMES, (ALL, *DISTANCES), strict=True)
    }
