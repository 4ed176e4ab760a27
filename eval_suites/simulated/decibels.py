"""PSNR of imagined frames against MuJoCo's: of all pixels, of those that change, of the robot's."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from eval_suites.base import Metric
from eval_suites.clips import Clip
from eval_suites.metrics.image_metrics import PSNR_CAP_DB, changed_pixels, changed_psnr, frame_psnr
from eval_suites.statistics import episode_mean, to_metric

IMAGINED, ALONE, ROBOT, RANDOM = "imagined", "codes_alone", "robot_actions", "random_codes"
"""By what steers: latent actions inferred on the recorded frames, for the rollout as a whole or, as
in the paper, each of its own transition alone; the recorded robot actions; or codes drawn at
random."""
BEST_CODES = "best_codes"
"""MuJoCo itself, steered by the best possible codes."""
COPY_LAST, TOKENIZER, RECORDED = "copy_last", "tokenizer", "recorded"
MEASURES = {
    "psnr": "PSNR against MuJoCo's frame",
    "changed_psnr": "PSNR over the pixels that change from MuJoCo's frame t - 1 to t",
    "robot_psnr": "PSNR over the pixels of the robot in MuJoCo's frame t",
}
PROTOCOL = (
    "MuJoCo restored at the prompt frame executes the recorded actions; the world model gets the "
    "prompt and the latent actions inferred on the recorded frames for the rollout as a whole (or, "
    "where it says so, each of its own transition alone, the recorded robot actions or random "
    "codes); best_codes is MuJoCo itself under the recorded actions, every xyz motion quantised to "
    "k-means centroids with error feedback, as many centroids as latent actions; per-frame dB "
    "averaged over prompts, interval over test episodes; copy_last holds the prompt frame, the "
    "ceiling is the tokenizer's own reconstruction of MuJoCo's frames"
)

Measured = dict[str, dict[str, Float[np.ndarray, "m n"]]]
"""PSNR by whose frames and by measure; NaN where there are no such pixels."""


def decibels(
    true: UInt8[np.ndarray, "m t h w c"],
    video: UInt8[np.ndarray, "m n h w c"],
    is_robot: Bool[np.ndarray, "m n h w"],
    *,
    threshold: int,
) -> dict[str, Float[np.ndarray, "m n"]]:
    """Every measure of every frame; true videos begin with the prompt frame."""
    rows = []
    for seen, other, robot in zip(true, video, is_robot, strict=True):
        changed = changed_pixels(seen, threshold=threshold)
        rows.append(
            (
                frame_psnr(seen[1:], other),
                changed_psnr(seen[1:], other, changed),
                changed_psnr(seen[1:], other, robot),
            )
        )
    columns = zip(*rows, strict=True)
    return {name: np.stack(column) for name, column in zip(MEASURES, columns, strict=True)}


def decibel_metrics(clips: Sequence[Clip], measured: Measured, *, seed: int) -> dict[str, Metric]:
    """Means over the horizon, gains over a held prompt, and every frame of the horizon."""
    episode = np.array([clip.number for clip in clips])
    num_episodes = len(np.unique(episode))

    def mean(values: Float[np.ndarray, "m ..."], what: str, **context: float | None) -> Metric:
        return to_metric(
            episode_mean(values, episode, seed=seed),
            n_units=num_episodes,
            unit="dB",
            protocol=f"{what}; {PROTOCOL}",
            baselines={COPY_LAST: context[COPY_LAST]} if COPY_LAST in context else {},
            ceiling=context.get(TOKENIZER),
            reason="there are no such pixels in MuJoCo's frames",
        )

    metrics = {}
    paths = [path for path in (IMAGINED, ALONE, ROBOT, RANDOM, BEST_CODES) if path in measured]
    for name, what in MEASURES.items():
        by_whom = {who: values[name] for who, values in measured.items()}
        means = {who: episode_mean(by_whom[who], episode).value for who in (COPY_LAST, TOKENIZER)}
        for path in paths:
            suffix = "" if path == IMAGINED else f"/{path}"
            said = f"{what}, {path}, mean over the horizon"
            metrics[f"{name}{suffix}"] = mean(by_whom[path], said, **means)
        gain = by_whom[IMAGINED] - by_whom[COPY_LAST]
        metrics[f"{name}/gain_over_copy_last"] = mean(gain, f"{what}, imagined minus copy_last")
        for who in (*paths, COPY_LAST, TOKENIZER):
            for t, column in enumerate(by_whom[who].T, start=1):
                metrics[f"{name}/{who}/t{t}"] = mean(column, f"{what}, {who}, frame t")
    metrics["replay_psnr"] = mean(
        measured[RECORDED]["psnr"], f"recorded frames against MuJoCo's; {PSNR_CAP_DB:.0f} = equal"
    )
    return metrics
