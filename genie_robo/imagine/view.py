"""An imagined rollout as everything that its recording shows: images, readings, words."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from eval_suites.adapters import GenieEncoder, GenieTokenizer
from eval_suites.base import Reconstruction
from eval_suites.metrics.following import distance
from eval_suites.metrics.image_metrics import frame_psnr
from genie_robo.config import ImagineConfig
from genie_robo.imagine.prompts import Prompt
from genie_robo.imagine.readers import RolloutReaders
from genie_robo.imagine.steering import ALONE, INFERRED, RANDOM, ROBOT, Steering
from genie_robo.inference.code_chances import code_chances
from genie_robo.inference.code_names import dictionary_names
from genie_robo.sim.replay import Replay
from genie_robo.trained_run import TrainedRun
from genie_robo.types import Rollout
from viz.rollout import RolloutView
from viz.rollout_view import COPY_LAST, IMAGINED, TOKENIZER, TRUE_FRAMES, ReadPath, TokenMaps

Video = UInt8[np.ndarray, "t h w c"]
Curves = Mapping[str, Float[np.ndarray, " t"]]
_SOURCES = {
    INFERRED: "inferred from the true frames, for the rollout as a whole",
    ALONE: "inferred from the true frames, each of its own transition alone",
    ROBOT: "the true robot actions, mapped to codes",
    RANDOM: "drawn at random",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutParts:
    """Everything that is known of one rollout."""

    trained: TrainedRun
    prompt: Prompt
    steering: Steering
    rollout: Rollout
    happened: Replay | None
    """None for real data, and where the actions cannot be executed."""
    readers: RolloutReaders

    @property
    def true_video(self) -> Video | None:
        """MuJoCo's frames, else the dataset's while the same actions led to them."""
        if self.happened is not None:
            return self.happened.video
        followed = self.prompt.followed
        return followed.window.video if followed and self.steering.is_true else None

    @property
    def robot_actions(self) -> Float[np.ndarray, "n 7"] | None:
        """The true ones inside the prompt, then those that steered; None where none are known."""
        followed, steered = self.prompt.followed, self.steering.robot_actions
        if followed is None or steered is None:
            return None
        true = followed.window.robot_actions[: len(self.prompt.frames) - 1]
        return np.concatenate([true, steered])

    @property
    def imagined_video(self) -> Video:
        """The prompt as the tokenizer sees it, and the imagined frames."""
        return self.rollout.video[0].cpu().numpy()


def make_view(parts: RolloutParts, config: ImagineConfig, *, seed: int) -> RolloutView:
    """Everything there is to show; what is unknown is left out."""
    trained, prompt, rollout = parts.trained, parts.prompt, parts.rollout
    assert rollout.uncertainty is not None
    true_video, imagined, num_prompt = parts.true_video, parts.imagined_video, len(prompt.frames)
    seen = psnr = None
    if true_video is not None:
        seen = GenieTokenizer(genie=trained.genie, device=trained.device).reconstruct(true_video)
        psnr = compare(true_video, imagined, seen.video, num_prompt=num_prompt)
    codes = rollout.latent_actions[0].cpu().numpy()
    path = read_path(parts)
    names, decoded = (), None
    if parts.readers.action_map is not None:
        dictionary = parts.readers.action_map.dictionary
        names = dictionary_names(dictionary)
        decoded = dictionary.mean(codes)
    return RolloutView(
        episode_id=prompt.followed.window.episode_id if prompt.followed else prompt.name,
        control_hz=prompt.control_hz,
        imagined_video=imagined,
        latent_actions=codes,
        num_codes=trained.genie.latent_action.num_codes,
        num_prompt_frames=num_prompt,
        summary=summarise(parts, config, seed=seed, psnr=psnr, path=path),
        code_names=names,
        code_chances=infer_chances(parts, config),
        tokens=token_maps(parts, seen),
        uncertainty=rollout.uncertainty[0].cpu().numpy(),
        decoded_actions=decoded,
        read_path=path,
        true_video=true_video,
        robot_actions=parts.robot_actions,
        replay=parts.happened,
        psnr=psnr or {},
    )


def compare(true: Video, imagined: Video, seen: Video, *, num_prompt: int) -> Curves:
    """PSNR (dB) of the imagined frames, of a world that stands still, of the tokenizer alone."""
    others = {IMAGINED: imagined, COPY_LAST: _held(true, num_prompt), TOKENIZER: seen}
    return {name: frame_psnr(true, video) for name, video in others.items()}


def read_path(parts: RolloutParts) -> ReadPath | None:
    """Where the tool is in imagined frames, and how far that is from where MuJoCo has it (mm).

    Read from a world that stands still and from true frames as well: what has to be beaten, and
    what the reader errs by itself.
    """
    reader = parts.readers.poses
    if reader is None:
        return None
    read = reader.read(parts.imagined_video).tool
    if parts.happened is None:
        return ReadPath(positions=read)
    true, where = parts.happened.video, parts.happened.end_effector
    on_true = reader.read(true).tool
    others = {
        IMAGINED: read,
        COPY_LAST: _held(on_true, len(parts.prompt.frames)),
        TRUE_FRAMES: on_true,
    }
    return ReadPath(positions=read, error_mm={n: distance(p, where) for n, p in others.items()})


def token_maps(parts: RolloutParts, seen: Reconstruction | None) -> TokenMaps:
    """The tokens of the rollout beside those of the true frames."""
    rollout = parts.rollout
    assert rollout.token_entropy is not None
    return TokenMaps(
        grid=parts.trained.genie.tokenizer.grid,
        tokens=rollout.tokens[0].cpu().numpy(),
        entropy=rollout.token_entropy[0].cpu().numpy(),
        true_tokens=None if seen is None else seen.tokens,
    )


def infer_chances(parts: RolloutParts, config: ImagineConfig) -> Float[np.ndarray, "n k"] | None:
    """How clearly each transition alone implies each latent action; None where they were given."""
    followed, trained = parts.prompt.followed, parts.trained
    if followed is None or (config.actions or INFERRED) not in (INFERRED, ALONE):
        return None
    encoder = GenieEncoder(genie=trained.genie, device=trained.device)
    latents = encoder.encode(followed.window).latents
    return code_chances(trained.genie.latent_action.quantizer, latents)


def _held(values: np.ndarray, num_prompt: int) -> np.ndarray:
    """The last prompt entry from there on."""
    return values[np.minimum(np.arange(len(values)), num_prompt - 1)]


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
        f"{sampler.order} order, top_k {sampler.top_k}, guidance {sampler.guidance:g}",
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
        return "none: what would have happened is unknown"
    if parts.happened is None:
        return "the dataset's own frames"
    return "MuJoCo, restored at the prompt, under " + (
        "the true robot actions" if parts.steering.is_true else "the robot actions of the codes"
    )
