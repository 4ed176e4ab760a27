"""Everything that the recording of an imagined rollout shows, with a text summary."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from genie_robo.config import ImagineConfig
from genie_robo.eval_suites.adapters import GenieEncoder, GenieTokenizer
from genie_robo.eval_suites.base import Reconstruction
from genie_robo.eval_suites.metrics.following import distance
from genie_robo.eval_suites.metrics.image_metrics import frame_psnr
from genie_robo.eval_suites.plug_names import GENIE
from genie_robo.imagine.actions import ALONE, INFERRED, LATENTS, RANDOM, ROBOT
from genie_robo.imagine.rollout import RolloutParts, Video
from genie_robo.viz.rollout import RolloutView
from genie_robo.viz.rollout_view import (
    COPY_LAST,
    IMAGINED,
    TOKENIZER,
    TRUE_FRAMES,
    ReadPath,
    TokenMaps,
)

Curves = dict[str, Float[np.ndarray, " t"]]
_SOURCES = {
    INFERRED: "codes inferred from the true frames, with error feedback",
    ALONE: "codes inferred from the true frames, each from its own transition alone",
    LATENTS: "latents inferred from the true frames",
    ROBOT: "the true robot actions",
    RANDOM: "drawn at random",
}


class ImaginedEpisode(NamedTuple):
    """A rollout, and everything that its recording shows."""

    parts: RolloutParts
    view: RolloutView


def make_view(parts: RolloutParts, config: ImagineConfig, *, seed: int) -> RolloutView:
    """The content of the recording; unknown parts are left out."""
    trained, prompt, imagined = parts.trained, parts.prompt, parts.imagined
    true_video, num_prompt = parts.true_video, len(prompt.frames)
    rebuilt = psnr = None
    if true_video is not None:
        rebuilt = GenieTokenizer(genie=trained.genie, device=trained.device).reconstruct(true_video)
        psnr = _compare(true_video, parts.imagined_video, rebuilt.video, num_prompt=num_prompt)
    codes = None if imagined.codes is None else imagined.codes[0]
    path = _read_path(parts, config, rebuilt)
    names, decoded = (), None
    if (fitted := parts.readers.action_map) is not None:
        names = fitted.code_names
        decoded = None if codes is None else fitted.dictionary.mean(codes)
    return RolloutView(
        episode_id=prompt.name,
        control_hz=prompt.control_hz,
        imagined_video=parts.imagined_video,
        latent_actions=codes,
        num_codes=trained.genie.latent_action.num_codes,
        num_prompt_frames=num_prompt,
        summary=_summarise(parts, config, seed=seed, psnr=psnr, path=path),
        code_names=names,
        code_chances=_infer_chances(parts, config),
        tokens=_token_maps(parts, rebuilt),
        uncertainty=imagined.uncertainty[0],
        trust=None if imagined.trust is None else imagined.trust[0],
        decoded_actions=decoded,
        read_path=path,
        true_video=true_video,
        robot_actions=parts.robot_actions,
        action_mask=None if prompt.recording is None else prompt.recording.action_mask,
        joint_names=prompt.joint_names,
        replay=parts.happened,
        psnr=psnr or {},
    )


def _compare(true: Video, imagined: Video, rebuilt: Video, *, num_prompt: int) -> Curves:
    """PSNR (dB) of the imagined frames, of a held frame and of the tokenizer alone."""
    others = {IMAGINED: imagined, COPY_LAST: _held(true, num_prompt), TOKENIZER: rebuilt}
    return {name: frame_psnr(true, video) for name, video in others.items()}


def _read_path(
    parts: RolloutParts, config: ImagineConfig, rebuilt: Reconstruction | None
) -> ReadPath | None:
    """The tool in imagined frames, and its distance from the tool in MuJoCo (mm).

    Read from a held frame and from true frames as well: the baseline, and the reader's own error.
    """
    readers = parts.readers.poses
    if readers is None:
        return None
    is_decoded = config.world_model == GENIE
    reader = readers.decoded if is_decoded else readers.recorded
    read = reader.read(parts.imagined_video).tool
    if parts.happened is None or rebuilt is None:
        return ReadPath(positions=read)
    true, where = parts.happened.video, parts.happened.end_effector
    others = {
        IMAGINED: read,
        COPY_LAST: _held(readers.recorded.read(true).tool, len(parts.prompt.frames)),
        TRUE_FRAMES: reader.read(rebuilt.video if is_decoded else true).tool,
    }
    return ReadPath(positions=read, error_mm={n: distance(p, where) for n, p in others.items()})


def _token_maps(parts: RolloutParts, rebuilt: Reconstruction | None) -> TokenMaps | None:
    """The tokens of the rollout next to those of the true frames; None without tokens."""
    tokens, entropy = parts.imagined.tokens, parts.imagined.token_entropy
    if tokens is None or entropy is None:
        return None
    return TokenMaps(
        grid=parts.trained.genie.tokenizer.grid,
        tokens=tokens[0],
        entropy=entropy[0],
        true_tokens=None if rebuilt is None else rebuilt.tokens,
    )


def _infer_chances(parts: RolloutParts, config: ImagineConfig) -> Float[np.ndarray, "n k"] | None:
    """Probability of each latent action per transition; None where actions were given."""
    window, trained = parts.clip.window, parts.trained
    if window is None or (config.actions or INFERRED) not in (INFERRED, ALONE, LATENTS):
        return None
    encoder = GenieEncoder(genie=trained.genie, device=trained.device)
    latents = torch.from_numpy(encoder.encode(window).latents).to(trained.device)
    return trained.genie.latent_action.quantizer.code_probabilities(latents).cpu().numpy()


def _held(values: np.ndarray, num_prompt: int) -> np.ndarray:
    """The values with the last prompt entry repeated after the prompt."""
    return values[np.minimum(np.arange(len(values)), num_prompt - 1)]


def _summarise(
    parts: RolloutParts,
    config: ImagineConfig,
    *,
    seed: int,
    psnr: Mapping[str, Float[np.ndarray, " t"]] | None,
    path: ReadPath | None,
) -> str:
    """Markdown that describes what is shown and how it was made."""
    errors = {"PSNR (dB)": psnr or {}, "tool error (mm)": path.error_mm if path else {}}
    protocol = _protocol(parts, config, seed=seed)
    return "\n".join(
        [
            f"**{parts.prompt.title}**: {parts.prompt.instruction or 'no instruction'}",
            "",
            *_means({name: curves for name, curves in errors.items() if curves}, parts),
            *(f"- **{name}**: {value}" for name, value in protocol.items()),
        ]
    )


def _means(errors: Mapping[str, Curves], parts: RolloutParts) -> list[str]:
    """A table of means over the imagined frames."""
    if not errors:
        return []
    num_prompt, num_frames = len(parts.prompt.frames), len(parts.imagined_video)
    frames = f"mean of {num_frames - num_prompt} frames"
    rows = [f"| {frames} | imagined (orange) | copy last (grey) | best (teal) |"]
    rows.append("|---|---|---|---|")
    for name, curves in errors.items():
        means = " | ".join(f"{values[num_prompt:].mean():.1f}" for values in curves.values())
        rows.append(f"| {name} | {means} |")
    return [*rows, ""]


def _protocol(parts: RolloutParts, config: ImagineConfig, *, seed: int) -> dict[str, str]:
    trained, prompt = parts.trained.config, parts.prompt
    num_prompt, num_frames = len(prompt.frames), len(parts.imagined_video)
    start = f" from step {prompt.start}" if prompt.recording else ""
    return {
        "episode": prompt.name,
        "run": parts.trained.folder.path.resolve().name,
        "checkpoint": f"tokenizer at step {trained.tokenizer.num_steps}, world model at step "
        f"{trained.world_model.num_steps}",
        "seeds": f"training {trained.seed}, rollout {seed}",
        "frames": f"{num_prompt} given{start}, {num_frames - num_prompt} imagined",
        "latent actions": _source(parts, config),
        **({"pale curves": "mean robot action of the code"} if parts.readers.action_map else {}),
        "truth": _truth(parts),
        **_decoding(parts, config),
    }


def _decoding(parts: RolloutParts, config: ImagineConfig) -> dict[str, str]:
    if config.world_model != GENIE:
        return {"world model": f"{config.world_model}, not the run's own"}
    uncertainty = float(parts.imagined.uncertainty[0, len(parts.prompt.frames) :].mean())
    return {
        "uncertainty": f"{uncertainty:.2f} nats per imagined token",
        "changed tokens": "teal in both videos, orange in the imagined one only, blue in the true "
        "one only",
        "sampler": config.sampler.describe(),
    }


def _source(parts: RolloutParts, config: ImagineConfig) -> str:
    word = config.actions or (INFERRED if parts.clip.window else RANDOM)
    if word == INFERRED and not parts.trained.genie.latent_action.quantizer.is_additive:
        word = ALONE
    if isinstance(word, str):
        return _SOURCES[word] + (f", {_mapping(parts)}" if word == ROBOT else "")
    is_robot = isinstance(word[0], list)
    return f"given robot actions, {_mapping(parts)}" if is_robot else "given codes"


def _mapping(parts: RolloutParts) -> str:
    """What became of robot actions."""
    if (parts.trained.robot_genie or parts.trained.genie).takes_robot_actions:
        return "on which the model was trained"
    return "mapped to " + ("codes" if parts.steering.latents is None else "latents")


def _truth(parts: RolloutParts) -> str:
    if parts.true_video is None:
        return "none: what would have happened is unknown"
    if parts.happened is None:
        return "the dataset's own frames"
    return "MuJoCo, restored at the prompt, under " + (
        "the true robot actions" if parts.steering.is_true else "the robot actions of the codes"
    )
