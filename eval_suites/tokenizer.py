"""How much of a frame survives tokenization, and how much of the codebook is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from eval_suites import figures
from eval_suites.base import EvalContext, Metric, SuiteResult
from eval_suites.episodes import episode_limit, read_episodes
from eval_suites.metrics.image_metrics import (
    CHANGE_THRESHOLD,
    changed_pixels,
    changed_psnr,
    frame_psnr,
    frame_ssim,
)
from eval_suites.statistics import (
    Estimate,
    bootstrap,
    episode_mean,
    notes_on_units,
    perplexity,
    to_metric,
)

UNITS = {"psnr": "dB", "ssim": "SSIM", "changed_psnr": "dB"}
PROTOCOLS = {
    "psnr": "PSNR of each frame against the true one, averaged in dB",
    "ssim": "structural similarity of each frame to the true one",
    "changed_psnr": "PSNR over the pixels that changed since the frame before, averaged in dB",
}
FRAMES = "frames 1.. of test episodes, interval over episodes; copy_last shows the frame before"


class _Measured(NamedTuple):
    """One episode; entry t of each array is about frame t + 1."""

    episode_id: str
    tokenizer: Mapping[str, Float[np.ndarray, " t"]]
    copy_last: Mapping[str, Float[np.ndarray, " t"]]
    token_counts: Float[np.ndarray, " k"]
    shown: Int[np.ndarray, " n"]
    """A few frames to look at,"""
    frames: Mapping[str, UInt8[np.ndarray, "n h w c"]]
    """true and reconstructed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSuite:
    """Reconstruction of test episodes beside copying the frame before."""

    name: ClassVar[str] = "tokenizer"
    summary: ClassVar[str] = "what the video tokenizer keeps of a frame"

    max_episodes: int = 200
    change_threshold: int = CHANGE_THRESHOLD
    """Grey levels of 255 by which a pixel must change to count as changed."""
    num_strip_frames: int = 8

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
        metrics = {name: _frame_metric(measured, name, context.seed) for name in UNITS}
        metrics |= {f"gain_over_copy_last/{n}": _gain(measured, n, context.seed) for n in UNITS}
        metrics |= _codebook_metrics(measured, context.seed)
        return SuiteResult(
            metrics=metrics,
            headline=("psnr", "changed_psnr", "ssim", "perplexity", "used_codes"),
            per_episode=[_row(episode) for episode in measured],
            figures=self._figures(measured),
            notes=(
                "A pixel counts as changed when a channel moves by more than "
                f"{self.change_threshold} of 255 grey levels.",
                *notes_on_units(len(measured)),
            ),
        )

    def _measure(
        self, context: EvalContext, episode_id: str, video: UInt8[np.ndarray, "t h w c"]
    ) -> _Measured:
        tokens, decoded = context.tokenizer.reconstruct(video)
        shown = np.linspace(0, len(video) - 1, min(self.num_strip_frames, len(video))).astype(int)
        return _Measured(
            episode_id,
            self._frame_measures(video, decoded[1:]),
            self._frame_measures(video, video[:-1]),
            np.bincount(tokens.ravel(), minlength=context.tokenizer.num_codes).astype(float),
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

    def _figures(self, measured: Sequence[_Measured]) -> dict[str, Figure]:
        order = np.argsort([episode.tokenizer["psnr"].mean() for episode in measured])
        median = measured[order[len(order) // 2]]
        counts = np.sum([episode.token_counts for episode in measured], axis=0)
        return {
            "reconstruction": figures.frame_strip(
                median.frames, titles=[f"frame {t}" for t in median.shown]
            ),
            "psnr": figures.histograms(
                {
                    "tokenizer": _joined(measured, "tokenizer", "psnr"),
                    "copy last frame": _joined(measured, "copy_last", "psnr"),
                    "tokenizer, changed pixels": _joined(measured, "tokenizer", "changed_psnr"),
                    "copy last, changed pixels": _joined(measured, "copy_last", "changed_psnr"),
                },
                label="PSNR of a frame (dB)",
            ),
            "code_usage": figures.usage(
                counts.astype(int),
                label="token codes, most used first",
                title="use of the token codebook in test episodes",
                ranked=True,
            ),
        }


def _joined(measured: Sequence[_Measured], who: str, name: str) -> Float[np.ndarray, " n"]:
    return np.concatenate([getattr(episode, who)[name] for episode in measured])


def _episodes(measured: Sequence[_Measured]) -> np.ndarray:
    lengths = [len(episode.tokenizer["psnr"]) for episode in measured]
    return np.repeat(np.arange(len(measured)), lengths)


def _frame_metric(measured: Sequence[_Measured], name: str, seed: int) -> Metric:
    episode = _episodes(measured)
    estimate = episode_mean(_joined(measured, "tokenizer", name), episode, seed=seed)
    copied = episode_mean(_joined(measured, "copy_last", name), episode, seed=seed)
    return _metric(measured, estimate, name, PROTOCOLS[name], copied.value)


def _gain(measured: Sequence[_Measured], name: str, seed: int) -> Metric:
    difference = _joined(measured, "tokenizer", name) - _joined(measured, "copy_last", name)
    estimate = episode_mean(difference, _episodes(measured), seed=seed)
    return _metric(measured, estimate, name, f"tokenizer minus copy_last: {PROTOCOLS[name]}")


def _metric(
    measured: Sequence[_Measured],
    estimate: Estimate,
    name: str,
    protocol: str,
    copied: float | None = None,
) -> Metric:
    return to_metric(
        estimate,
        n_units=len(measured),
        unit=UNITS[name],
        protocol=f"{protocol}; {FRAMES}",
        baselines={} if copied is None else {"copy_last": copied},
        reason="no pixel changes in any test episode",
    )


def _codebook_metrics(measured: Sequence[_Measured], seed: int) -> dict[str, Metric]:
    counts = np.stack([episode.token_counts for episode in measured])
    num_codes, total = counts.shape[1], counts.sum(axis=0)
    return {
        "perplexity": to_metric(
            bootstrap(counts, perplexity, seed=seed),
            n_units=len(measured),
            unit="codes",
            protocol="exp of the entropy of token use over all patches of all test frames",
            ceiling=float(num_codes),
        ),
        "used_codes": Metric(
            value=float((total > 0).mean()),
            n_units=len(measured),
            unit="share",
            protocol=f"share of the {num_codes} token codes that occur in the test episodes",
            ceiling=1.0,
        ),
    }


def _row(episode: _Measured) -> dict[str, float | str | None]:
    row: dict[str, float | str | None] = {
        "episode_id": episode.episode_id,
        "num_frames": len(episode.tokenizer["psnr"]),
    }
    for who in ("tokenizer", "copy_last"):
        for name, values in getattr(episode, who).items():
            known = values[np.isfinite(values)]
            row[f"{who}_{name}"] = float(known.mean()) if len(known) else None
    return row
