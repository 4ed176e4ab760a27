"""What a rollout is, in words: run, seeds, sampler, protocol and the few numbers to read first."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from genie_robo.config import ImagineConfig
from genie_robo.imagine.parts import RolloutParts
from genie_robo.imagine.steering import ALONE, INFERRED, RANDOM, ROBOT
from viz.rollout_view import ReadPath

Curves = Mapping[str, Float[np.ndarray, " t"]]
_SOURCES = {
    INFERRED: "inferred from the true frames, for the rollout as a whole",
    ALONE: "inferred from the true frames, each of its own transition alone",
    ROBOT: "the true robot actions, mapped to codes",
    RANDOM: "drawn at random",
}


def summarise(
    parts: RolloutParts,
    config: ImagineConfig,
    *,
    seed: int,
    psnr: Curves | None,
    path: ReadPath | None,
) -> str:
    """Markdown that says what is shown and how it came about."""
    followed = parts.prompt.followed
    said = (followed.episode.instruction if followed else "") or "no instruction"
    errors = {"PSNR (dB)": psnr or {}, "tool error (mm)": path.error_mm if path else {}}
    protocol = _protocol(parts, config, seed=seed)
    return "\n".join(
        [
            f"**{parts.prompt.title}**: {said}",
            "",
            *_means({name: curves for name, curves in errors.items() if curves}, parts),
            *(f"- **{name}**: {value}" for name, value in protocol.items()),
        ]
    )


def _means(errors: Mapping[str, Curves], parts: RolloutParts) -> list[str]:
    """A table of means over the imagined frames."""
    if not errors:
        return []
    num_prompt, num_frames = parts.rollout.num_prompt_frames, parts.rollout.video.shape[1]
    rows = [f"| mean of {num_frames - num_prompt} frames | imagined | copy last | best |"]
    rows.append("|---|---|---|---|")
    for name, curves in errors.items():
        means = " | ".join(f"{values[num_prompt:].mean():.1f}" for values in curves.values())
        rows.append(f"| {name} | {means} |")
    return [*rows, ""]


def _protocol(parts: RolloutParts, config: ImagineConfig, *, seed: int) -> dict[str, str]:
    trained, prompt, sampler = parts.trained.config, parts.prompt, config.sampler
    num_prompt, num_frames = parts.rollout.num_prompt_frames, parts.rollout.video.shape[1]
    start = f" from step {prompt.followed.first}" if prompt.followed else ""
    assert parts.rollout.uncertainty is not None
    uncertainty = float(parts.rollout.uncertainty[0, num_prompt:].mean())
    return {
        "run": parts.trained.folder.path.resolve().name,
        "checkpoint": f"tokenizer at step {trained.tokenizer.num_steps}, world model at step "
        f"{trained.world_model.num_steps}",
        "seeds": f"training {trained.seed}, rollout {seed}",
        "frames": f"{num_prompt} given{start}, {num_frames - num_prompt} imagined",
        "latent actions": _source(parts, config),
        "truth": _truth(parts),
        "uncertainty": f"{uncertainty:.2f} nats per imagined token",
        "changed tokens": "teal in both videos, orange in the imagined one only, blue in the true "
        "one only",
        "sampler": f"{sampler.num_steps} steps, temperature {sampler.temperature:g}, "
        f"{sampler.order.value} order, top_k {sampler.top_k}, guidance {sampler.guidance:g}",
    }


def _source(parts: RolloutParts, config: ImagineConfig) -> str:
    word = config.actions or (INFERRED if parts.prompt.followed else RANDOM)
    if word == INFERRED and not parts.trained.genie.latent_action.quantizer.is_additive:
        word = ALONE
    if isinstance(word, str):
        return _SOURCES[word]
    return "given robot actions, mapped to codes" if isinstance(word[0], list) else "given codes"


def _truth(parts: RolloutParts) -> str:
    if parts.true_video is None:
        return "nobody knows what would have happened"
    if parts.happened is None:
        return "the dataset's own frames"
    return "MuJoCo, restored at the prompt, under " + (
        "the true robot actions" if parts.steering.is_true else "the robot actions of the codes"
    )
