"""Reconstruction quality of the tokenizer, and use of its codebook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.figure import Figure
from scipy.ndimage import minimum_filter

from genie_robo.eval_suites import figures
from genie_robo.eval_suites.base import EvalContext, SuiteResult
from genie_robo.eval_suites.metrics.image_metrics import (
    changed_pixels,
    changed_psnr,
    frame_psnr,
    frame_ssim,
)
from genie_robo.eval_suites.rollouts import episode_limit, read_episodes
from genie_robo.eval_suites.settings import TokenizerSettings
from genie_robo.eval_suites.statistics import notes_on_units, perplexity
from genie_robo.eval_suites.table import (
    FEWER_CODES,
    OTHER_CODES,
    Fixed,
    Interval,
    Measurement,
    Sums,
    Table,
)
from genie_robo.video_files import equally_spaced

UNITS = {"psnr": "dB", "ssim": "SSIM", "changed_psnr": "dB"}
PROTOCOLS = {
    "psnr": "PSNR of each frame against the true one, averaged in dB",
    "ssim": "structural similarity of each frame to the true one",
    "changed_psnr": "PSNR over the pixels that changed since the previous frame, averaged in dB",
}
FLIPS = {
    "own_patch": "whose patch has identical pixels in both frames",
    "neighbourhood": "whose patch and its eight neighbours have identical pixels in both frames",
}
NO_STILL_PATCH = "no patch keeps its pixels, or tokens are not one per square patch"
FRAMES = (
    "frames 1.. of test episodes, interval over episodes; a tokenizer that skips what stays is "
    "given frame 0, as in a rollout; copy_last shows the previous frame"
)


class _Measured(NamedTuple):
    """One episode; entry t of each array is about frame t + 1."""

    episode_id: str
    tokenizer: Mapping[str, Float[np.ndarray, " t"]]
    copy_last: Mapping[str, Float[np.ndarray, " t"]]
    token_counts: Float[np.ndarray, " k"]
    flips: Mapping[str, tuple[float, float]]
    """By kind of FLIPS: the share of such tokens that differ from the frame before's, and how many
    there are."""
    shown: Sequence[int]
    """Indices of the frames to show."""
    frames: Mapping[str, UInt8[np.ndarray, "n h w c"]]
    """The frames to show, true and reconstructed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSuite(TokenizerSettings):
    """Reconstruction of test episodes, with copying the previous frame as a baseline."""

    summary: ClassVar[str] = "how well the video tokenizer reconstructs frames"
    headline: ClassVar[Mapping[str, str]] = {
        "psnr": "dB",
        "changed_psnr": "dB",
        "ssim": "SSIM",
        "perplexity": "codes",
        "used_codes": "share",
        "flips/own_patch": "share",
    }

    def evaluate(self, context: EvalContext) -> SuiteResult:
        """Tokenize and decode test episodes.

        Raises:
            ValueError: No test episode has two frames.
        """
        limit = episode_limit(context, self.max_episodes)
        episodes = read_episodes(context.test, max_episodes=limit, description=self.name)
        measured = [
            self._measure(context, window.episode_id, video)
            for _, window in episodes
            if len(video := window.video[~window.is_pad]) > 1
        ]
        if not measured:
            raise ValueError(
                f"none of the {len(context.test.episodes)} test episodes has two frames, so no "
                "frame can be compared with the one before; check data.path and data.frame_stride"
            )
        table = _table(measured)
        result = SuiteResult.of(
            _frame_measurements(table)
            | _flip_measurements(table)
            | _drift_measurement(table)
            | _codebook_measurements(measured, table),
            seed=context.seed,
            headline=tuple(self.headline),
            table=table,
            notes=(
                "A pixel counts as changed when a channel moves by more than "
                f"{self.change_threshold} of 255 grey levels.",
                *notes_on_units(len(measured)),
            ),
        )
        return replace(result, figures=_figures(measured))

    def _measure(
        self, context: EvalContext, episode_id: str, video: UInt8[np.ndarray, "t h w c"]
    ) -> _Measured:
        tokens, decoded = context.tokenizer.reconstruct(video)
        shown = equally_spaced(len(video), most=self.num_strip_frames)
        return _Measured(
            episode_id,
            self._frame_measures(video, decoded[1:]),
            self._frame_measures(video, video[:-1]),
            np.bincount(tokens.ravel(), minlength=context.tokenizer.num_codes).astype(float),
            _flips(video, tokens),
            shown,
            {"true": video[shown], "tokenizer": decoded[shown]},
        )

    def _frame_measures(
        self, video: UInt8[np.ndarray, "t h w c"], other: UInt8[np.ndarray, "t-1 h w c"]
    ) -> dict[str, Float[np.ndarray, " t-1"]]:
        changed = changed_pixels(video, threshold=self.change_threshold)
        return {
            "psnr": frame_psnr(video[1:], other),
            "ssim": frame_ssim(video[1:], other),
            "changed_psnr": changed_psnr(video[1:], other, changed),
        }


def _table(measured: Sequence[_Measured]) -> Table:
    """Means over the frames of every episode, weighted by the frames that have a value."""
    table = Table([episode.episode_id for episode in measured])
    lengths = np.array([len(episode.tokenizer["psnr"]) for episode in measured])
    table.add("num_frames", lengths, given=True)
    for who in ("tokenizer", "copy_last"):
        for name in UNITS:
            frames = [getattr(episode, who)[name] for episode in measured]
            counts = np.array([np.isfinite(values).sum() for values in frames], dtype=float)
            sums = np.array([np.nansum(values) for values in frames])
            means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
            table.add(f"{who}_{name}", means, weights=counts, given=who == "copy_last")
    for kind in FLIPS:
        shares, counts = np.transpose([episode.flips[kind] for episode in measured])
        table.add(f"flips_{kind}", shares, weights=counts)
    for who in ("tokenizer", "copy_last"):
        drifts = np.array([_drift(getattr(episode, who)["psnr"]) for episode in measured])
        weights = np.isfinite(drifts).astype(float)
        table.add(f"{who}_drift", drifts, weights=weights, given=who == "copy_last")
    return table


def _drift(psnr: Float[np.ndarray, " t"]) -> float:
    """PSNR of the first quarter of the frames minus that of the last; NaN under four frames."""
    quarter = len(psnr) // 4
    return float(psnr[:quarter].mean() - psnr[-quarter:].mean()) if quarter else np.nan


def _flips(
    video: UInt8[np.ndarray, "t h w c"], tokens: Int[np.ndarray, "t s"]
) -> dict[str, tuple[float, float]]:
    """How many tokens change although what they stand for does not, see _Measured."""
    still = _still_patches(video, tokens.shape[1])
    if still is None:
        return dict.fromkeys(FLIPS, (np.nan, 0.0))
    flipped = (tokens[1:] != tokens[:-1]).reshape(still.shape)
    around = minimum_filter(still, size=(1, 3, 3), mode="nearest")
    kinds = dict(zip(FLIPS, (still, around), strict=True))
    return {
        kind: (float(flipped[chosen].mean()) if chosen.any() else np.nan, float(chosen.sum()))
        for kind, chosen in kinds.items()
    }


def _still_patches(
    video: UInt8[np.ndarray, "t h w c"], num_tokens: int
) -> Bool[np.ndarray, "t-1 r c"] | None:
    """Whether each square patch is as in the frame before; None if patches are not square."""
    height, width = video.shape[1:3]
    side = round((height * width / num_tokens) ** 0.5)
    if not side or height % side or width % side or height * width != num_tokens * side**2:
        return None
    same = (video[1:] == video[:-1]).all(axis=-1)
    rows = same.reshape(len(same), height // side, side, width // side, side)
    return rows.all(axis=(2, 4))


def _flip_measurements(table: Table) -> dict[str, Measurement]:
    return {
        f"flips/{kind}": Measurement(
            of=table.mean([f"flips_{kind}"]),
            unit="share",
            protocol=f"share of tokens that differ from the frame before's, of those {which}; "
            "interval over episodes",
            ceiling=0.0,
            reason=NO_STILL_PATCH,
        )
        for kind, which in FLIPS.items()
    }


def _drift_measurement(table: Table) -> dict[str, Measurement]:
    return {
        "drift": Measurement(
            of=table.mean(["tokenizer_drift"]),
            unit="dB",
            protocol="PSNR of the first quarter of each episode's frames minus that of the last; "
            "above copy_last's where errors add up from frame to frame; interval over episodes",
            baselines={"copy_last": table.mean(["copy_last_drift"])},
            reason="no test episode has five frames",
        )
    }


def _frame_measurements(table: Table) -> dict[str, Measurement]:
    found = {}
    for name, unit in UNITS.items():
        own, copied = [f"tokenizer_{name}"], [f"copy_last_{name}"]
        reason = "no pixel changes in any test episode"
        found[name] = Measurement(
            of=table.mean(own),
            unit=unit,
            protocol=f"{PROTOCOLS[name]}; {FRAMES}",
            baselines={"copy_last": table.mean(copied)},
            reason=reason,
        )
        found[f"gain_over_copy_last/{name}"] = Measurement(
            of=table.mean_difference(own, copied),
            unit=unit,
            protocol=f"tokenizer minus copy_last: {PROTOCOLS[name]}; {FRAMES}",
            reason=reason,
        )
    return found


def _codebook_measurements(measured: Sequence[_Measured], table: Table) -> dict[str, Measurement]:
    counts = np.stack([episode.token_counts for episode in measured])
    num_codes, total = counts.shape[1], counts.sum(axis=0)
    return {
        "perplexity": Measurement(
            of=Sums(table, counts, perplexity, Interval.jackknife, OTHER_CODES),
            unit="codes",
            protocol="exp of the entropy of token use over all patches of all test frames; "
            "interval by jackknife over test episodes",
            ceiling=float(num_codes),
        ),
        "used_codes": Measurement(
            of=Fixed(table, float((total > 0).mean()), FEWER_CODES),
            unit="share",
            protocol=f"share of the {num_codes} token codes that occur in the test episodes",
            ceiling=1.0,
        ),
    }


def _figures(measured: Sequence[_Measured]) -> dict[str, Figure]:
    order = np.argsort([episode.tokenizer["psnr"].mean() for episode in measured])
    median = measured[order[len(order) // 2]]
    counts = np.sum([episode.token_counts for episode in measured], axis=0)

    def joined(who: str, name: str) -> Float[np.ndarray, " n"]:
        return np.concatenate([getattr(episode, who)[name] for episode in measured])

    return {
        "reconstruction": figures.frame_strip(
            median.frames, titles=[f"frame {t}" for t in median.shown]
        ),
        "psnr": figures.histograms(
            {
                "tokenizer": joined("tokenizer", "psnr"),
                "copy last frame": joined("copy_last", "psnr"),
                "tokenizer, changed pixels": joined("tokenizer", "changed_psnr"),
                "copy last, changed pixels": joined("copy_last", "changed_psnr"),
            },
            label="PSNR of a frame (dB)",
        ),
        "code_usage": figures.usage(
            counts.astype(int),
            label="token codes, most used first",
            title="use of the token codebook in test episodes",
        ),
    }
