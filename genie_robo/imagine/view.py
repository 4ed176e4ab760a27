"""An imagined rollout as everything that its recording shows."""

import numpy as np
from jaxtyping import Float

from eval_suites.adapters import GenieEncoder, GenieTokenizer
from eval_suites.base import Reconstruction
from eval_suites.metrics.following import distance
from eval_suites.metrics.image_metrics import frame_psnr
from genie_robo.config import ImagineConfig
from genie_robo.imagine.parts import RolloutParts, Video
from genie_robo.imagine.steering import ALONE, INFERRED
from genie_robo.imagine.summary import summarise
from genie_robo.inference.code_chances import code_chances
from genie_robo.inference.code_names import dictionary_names
from viz.rollout import RolloutView
from viz.rollout_view import COPY_LAST, IMAGINED, TOKENIZER, TRUE_FRAMES, ReadPath, TokenMaps

Curves = dict[str, Float[np.ndarray, " t"]]


def make_view(parts: RolloutParts, config: ImagineConfig, *, seed: int) -> RolloutView:
    """Everything there is to show; what nobody knows is left out."""
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
