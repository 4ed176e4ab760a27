"""Does imagination follow the latent action, or what the prompt suggests? A donor's tells."""

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from eval_suites.base import EvalContext, why_unavailable
from eval_suites.metrics.regression import predict_by_ridge
from eval_suites.probes.imagined import clip_window, probed_clips, sum_over_clips
from eval_suites.probes.scores import Probe
from eval_suites.rollouts import ROBOT_ACTIONS_ONLY, Clip, imagine, stable_seed
from eval_suites.statistics import r2_fraction
from eval_suites.table import Measurement, Sums, Table, undefined
from genie_robo.inference.world import Actions, Codes, Latents

DISTANCES = ("near", "middle", "far")
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
Rows = Float[np.ndarray, "m r d"]


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
    prompts = [context.tokenizer.reconstruct(clip.prompt.frames[-1:]).video for clip in clips]
    pairs = [
        np.concatenate([prompt, frame])
        for prompt, frames in zip(prompts, shown, strict=True)
        for frame in frames
    ]
    rebuilt = [context.tokenizer.reconstruct(clip.window.video[-2:]).video for clip in clips]
    read = _read(context, probe, clips, [*pairs, *rebuilt])
    imagined = read[: len(pairs)].reshape(len(clips), len(DISTANCES), -1)
    return _measure(probe, clips, own, donors, imagined, read[len(pairs) :], context)


def draw_donors(probe: Probe, own: Int[np.ndarray, " m"], *, seed: int) -> Int[np.ndarray, "m 3"]:
    """For the transition of every prompt one of another episode from each third by distance."""
    data, drawn = probe.test, []
    for row in own:
        others = np.flatnonzero(data.episode != data.episode[row])
        far = np.linalg.norm(data.latents[others] - data.latents[row], axis=1)
        thirds = np.array_split(others[np.argsort(far, kind="stable")], len(DISTANCES))
        rng = np.random.default_rng(stable_seed("donors", seed, int(row)))
        drawn.append([rng.choice(third if len(third) else others) for third in thirds])
    return np.array(drawn)


def _rows_of(probe: Probe, clips: list[Clip], *, stride: int) -> Int[np.ndarray, " m"]:
    """The transition from the prompt to the next frame, as a row of the test split."""
    first = {name: int((probe.test.episode < e).sum()) for e, name in _numbered(probe)}
    return np.array(
        [
            first[clip.window.episode_id] + clip.window.start // stride + clip.num_prompt_frames - 1
            for clip in clips
        ]
    )


def _numbered(probe: Probe) -> list[tuple[int, str]]:
    return list(enumerate(probe.test.episode_ids))


def _imagine(
    context: EvalContext,
    probe: Probe,
    clips: list[Clip],
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
    context: EvalContext, probe: Probe, clips: list[Clip], pairs: list[UInt8[np.ndarray, "2 h w c"]]
) -> Float[np.ndarray, "p d"]:
    """The motion that the probe reads from the latent between two frames."""
    window = clips[0]
    latents = [context.encoder.encode(clip_window(window, pair)).latents[0] for pair in pairs]
    return _probe(probe, np.stack(latents))


def _probe(probe: Probe, latents: Float[np.ndarray, "m e"]) -> Float[np.ndarray, "m d"]:
    return predict_by_ridge(probe.fit.latents, probe.fit_targets, latents, groups=probe.fit.episode)


def _measure(
    probe: Probe,
    clips: list[Clip],
    own: Int[np.ndarray, " m"],
    donors: Int[np.ndarray, "m 3"],
    imagined: Rows,
    rebuilt: Float[np.ndarray, "m d"],
    context: EvalContext,
) -> tuple[Table, dict[str, Measurement]]:
    """R2 of each reading over the R2 of the probe on the latent actions that were given."""
    test, names = probe.test, probe.motion.names
    given = (
        _probe(probe, test.latents)
        if context.takes_latents
        else probe.predict(probe.fit.codes, test.codes)
    )
    truth = probe.targets[donors]
    table = Table(test.episode_ids, motion=["utilisation"] * test.num_episodes)

    def squares(guess: Shaped[np.ndarray, "... d"], true: Rows) -> Rows:
        return (guess - true) ** 2

    parts = {
        "imagined": squares(imagined, truth),
        "given": squares(given[donors], truth),
        "deviation": squares(probe.mean, truth),
        "own": squares(probe.targets[own][:, None], truth),
    }
    columns = {}
    for part, values in parts.items():
        for d, distance in enumerate(DISTANCES):
            sums = sum_over_clips(table, clips, values[:, d])
            columns[part, distance] = table.add_squares(
                f"utilisation_{part}_{distance}", sums, names
            )
    shown = table.where(np.isfinite(table.columns[columns["imagined", "near"][0]]))

    def fraction(part: str, distances: tuple[str, ...]) -> Sums:
        order = (part, "given", "deviation")
        totals = [
            np.sum([shown.values(columns[each, distance]) for distance in distances], axis=0)
            for each in order
        ]
        return Sums(shown, np.stack(totals, axis=1), r2_fraction)

    true = probe.targets[own]
    ceiling = [
        sum_over_clips(table, clips, values)
        for values in ((rebuilt - true) ** 2, (given[own] - true) ** 2, (probe.mean - true) ** 2)
    ]
    kept = np.isfinite(ceiling[0]).all(axis=1)
    best = Sums(shown, np.stack(ceiling, axis=1)[kept], r2_fraction)
    groups = {NAMES[0]: DISTANCES} | {n: (d,) for n, d in zip(NAMES[1:], DISTANCES, strict=True)}
    return table, {
        name: Measurement(
            of=fraction("imagined", distances),
            unit="share",
            protocol=PROTOCOL,
            baselines={"own_motion": fraction("own", distances)},
            ceiling=best,
            reason="the probe explains nothing of the donors' motion",
        )
        for name, distances in groups.items()
    }
