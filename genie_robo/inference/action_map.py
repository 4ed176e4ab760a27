"""Latent actions to robot actions and back (paper Appendix E)."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from genie_robo.inference.code_names import dictionary_names
from genie_robo.inference.error_feedback import ErrorFeedback
from genie_robo.inference.settings import Sampler
from genie_robo.inference.world import GenieWorld, RobotMap
from genie_robo.models.genie import Genie
from genie_robo.run_folder import write_atomic
from genie_robo.stored_files import read_bytes, read_json
from genie_robo.types import JOINTS, XYZ, action_names

FORMAT_VERSION = 2
ARRAYS, REPORT = "action_map.npz", "action_map.json"
_PENALTIES = np.logspace(-3, 4, 15)
_NARROW = 1e-8
_MAX_ARRAY_BYTES = 100_000_000
"""A map that is fitted to a million labels has less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDictionary:
    """The robot actions of the labelled steps with each code.

    The paper maps a latent action to a robot action drawn from its list; the mean of the list is
    the least-squares answer.
    """

    robot_actions: tuple[Float[np.ndarray, "_ a"], ...]
    """One array per code, possibly empty."""

    @classmethod
    def fit(
        cls,
        latent_actions: Int[np.ndarray, " n"],
        robot_actions: Float[np.ndarray, "n a"],
        *,
        num_codes: int,
    ) -> "ActionDictionary":
        """Collect labelled transitions.

        Raises:
            ValueError: No transition at all, or a code outside 0..num_codes - 1.
        """
        _check_labels(latent_actions, num_codes=num_codes)
        return cls(
            robot_actions=tuple(robot_actions[latent_actions == code] for code in range(num_codes))
        )

    @property
    def counts(self) -> Int[np.ndarray, " k"]:
        """Labelled transitions per code."""
        return np.array([len(seen) for seen in self.robot_actions])

    def mean(self, latent_actions: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n a"]:
        """The mean robot action of each code; of a code without labels the mean of all."""
        overall = np.concatenate(self.robot_actions).mean(0)
        means = np.stack([s.mean(0) if len(s) else overall for s in self.robot_actions])
        return means[latent_actions]

    def sample(
        self, latent_actions: Int[np.ndarray, " n"], rng: np.random.Generator
    ) -> Float[np.ndarray, "n a"]:
        """Draw a robot action for each code, as the paper does at run time."""
        everything = np.concatenate(self.robot_actions)
        lists = [self.robot_actions[code] for code in latent_actions]
        return np.stack([rng.choice(seen if len(seen) else everything) for seen in lists])


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRegressor:
    """Robot action to latent action: multinomial logistic regression.

    Its features are the standardised actions and their squares, because a code can mean a large
    motion in any direction.
    """

    centre: Float[np.ndarray, " a"]
    scale: Float[np.ndarray, " a"]
    codes: Int[np.ndarray, " seen"]
    """Codes among the labels; no other is predicted."""
    weights: Float[np.ndarray, "seen f"]
    bias: Float[np.ndarray, " seen"]

    @classmethod
    def fit(
        cls,
        robot_actions: Float[np.ndarray, "n a"],
        codes: Int[np.ndarray, " n"],
        *,
        num_codes: int,
    ) -> "CodeRegressor":
        """Learn from labelled transitions.

        Raises:
            ValueError: No transition at all, a code outside 0..num_codes - 1, or an action that is
                not finite.
        """
        from sklearn.linear_model import LogisticRegression

        _check_labels(codes, num_codes=num_codes)
        centre, scale = standardisation(robot_actions)
        seen = np.unique(codes)
        features = _with_squares((robot_actions - centre) / scale)
        weights, bias = np.zeros((len(seen), features.shape[1])), np.zeros(len(seen))
        if len(seen) > 1:
            model = LogisticRegression(max_iter=1000).fit(features, codes)
            # For two classes scikit-learn has one row, that of the second class.
            weights[-len(model.coef_) :], bias[-len(model.coef_) :] = model.coef_, model.intercept_
        return cls(
            centre=centre.astype(np.float64),
            scale=scale.astype(np.float64),
            codes=seen.astype(np.int64),
            weights=weights,
            bias=bias,
        )

    def predict(self, robot_actions: Float[np.ndarray, "n a"]) -> Int[np.ndarray, " n"]:
        """The most likely code of each robot action.

        Raises:
            ValueError: An action is not finite, or of another width.
        """
        _check_width(robot_actions, len(self.centre))
        _check_finite(robot_actions)
        features = _with_squares((robot_actions - self.centre) / self.scale)
        return self.codes[(features @ self.weights.T + self.bias).argmax(1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentRegressor:
    """Robot action to latent: ridge regression on the action, its squares and products.

    Actions are standardised and clipped to the range of the labels, because squares extrapolate
    badly; so are the predicted latents.
    """

    centre: Float[np.ndarray, " a"]
    scale: Float[np.ndarray, " a"]
    action_range: Float[np.ndarray, "2 a"]
    """Smallest and largest of the labels."""
    latent_range: Float[np.ndarray, "2 e"]
    weights: Float[np.ndarray, "e f"]
    bias: Float[np.ndarray, " e"]

    @classmethod
    def fit(
        cls, robot_actions: Float[np.ndarray, "n a"], latents: Float[np.ndarray, "n e"]
    ) -> "LatentRegressor":
        """Learn from labelled transitions; the penalty is chosen by leave-one-out error.

        Raises:
            ValueError: There is no transition, or an action is not finite.
        """
        from sklearn.linear_model import RidgeCV

        if len(robot_actions) == 0:
            raise ValueError("an action map needs at least one labelled transition, got 0")
        centre, scale = standardisation(robot_actions)
        features = _with_products((robot_actions - centre) / scale)
        # The penalty is chosen by leaving one out, so a single label is counted twice.
        repeats = 2 if len(features) == 1 else 1
        model = RidgeCV(_PENALTIES).fit(*(np.tile(x, (repeats, 1)) for x in (features, latents)))
        return cls(
            centre=centre.astype(np.float64),
            scale=scale.astype(np.float64),
            action_range=np.stack([robot_actions.min(0), robot_actions.max(0)]).astype(np.float64),
            latent_range=np.stack([latents.min(0), latents.max(0)]).astype(np.float64),
            weights=np.asarray(model.coef_, np.float64).reshape(latents.shape[1], -1),
            bias=np.broadcast_to(model.intercept_, latents.shape[1:]).astype(np.float64),
        )

    def predict(self, robot_actions: Float[np.ndarray, "n a"]) -> Float[np.ndarray, "n e"]:
        """The latent of each robot action.

        Raises:
            ValueError: An action is not finite, or of another width.
        """
        _check_width(robot_actions, len(self.centre))
        _check_finite(robot_actions)
        known = np.clip(robot_actions, *self.action_range)
        features = _with_products((known - self.centre) / self.scale)
        return np.clip(features @ self.weights.T + self.bias, *self.latent_range)


@dataclass(frozen=True, slots=True)
class Measured:
    """A number on held-out episodes, None where it is undefined."""

    value: float | None
    ci95: tuple[float, float] | None
    """Interval over episodes; None when there are too few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionMapReport:
    """Accuracy of an action map on held-out episodes."""

    num_labels: int
    """Labelled steps of val episodes that it was fitted to."""
    num_fit_episodes: int
    num_test_steps: int
    num_test_episodes: int
    r2: Mapping[str, Measured]
    """R2 of the dictionary's mean by dimension; 0 is predicting the mean of all labels."""
    accuracy: Measured
    """Share of steps whose code the regressor predicts."""
    majority: float
    """Accuracy of always predicting the most frequent code of the labels."""
    latent_r2: tuple[Measured, ...]
    """R2 of each dimension of the latent, predicted from the robot action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionMap:
    """Latent to robot actions and back, with their accuracy."""

    dictionary: ActionDictionary
    regressor: CodeRegressor
    latents: LatentRegressor
    report: ActionMapReport
    origin: Mapping[str, str | int]
    """Fingerprints of what it was fitted to; a map with another origin is outdated."""

    @property
    def code_names(self) -> tuple[str, ...]:
        """The name of each code: its number and direction, as in `6 +x-y`."""
        return dictionary_names(self.dictionary, tuple(self.report.r2)[JOINTS])

    @property
    def feedback(self) -> ErrorFeedback:
        """Successive robot actions to latent actions; residuals of dx dy dz accumulate.

        An action plus its residual may lie beyond every label, where the regressor extrapolates
        badly, so it is clipped to the range of the labels.
        """
        centroids = self.dictionary.mean(np.arange(len(self.dictionary.robot_actions)))
        accumulates = np.zeros(centroids.shape[1], bool)
        accumulates[XYZ] = True
        labels = np.concatenate(self.dictionary.robot_actions)
        low, high = labels.min(axis=0), labels.max(axis=0)

        def quantise(actions: Float[np.ndarray, "n a"]) -> Int[np.ndarray, " n"]:
            _check_width(actions, len(low))
            return self.regressor.predict(np.clip(actions, low, high))

        return ErrorFeedback(quantise=quantise, centroids=centroids, accumulates=accumulates)

    def robot_map(self, *, by_latents: bool) -> RobotMap:
        """Robot actions to latents where they steer the model, else to codes."""
        return self.latents.predict if by_latents else self.feedback

    def save(self, folder: Path) -> None:
        """Write arrays, then the report, which has their digest."""
        lists = self.dictionary.robot_actions
        buffer = BytesIO()
        np.savez_compressed(
            buffer,
            robot_actions=np.concatenate(lists),
            counts=np.array([len(seen) for seen in lists]),
            **{name: getattr(self.regressor, name) for name in CodeRegressor.__slots__},
            **{f"latents_{n}": getattr(self.latents, n) for n in LatentRegressor.__slots__},
        )
        content = buffer.getvalue()
        described = {
            "format_version": FORMAT_VERSION,
            "arrays": _digest(content),
            "origin": dict(self.origin),
            "report": asdict(self.report),
        }
        write_atomic(folder / ARRAYS, content)
        write_atomic(folder / REPORT, json.dumps(described, indent=2))

    @classmethod
    def load(cls, folder: Path) -> "ActionMap":
        """Read what `save` wrote; nothing in it can execute code.

        Raises:
            FileNotFoundError: There is none, or one of an earlier version.
            ValueError: It is damaged, or of a later version.
        """
        if not (folder / REPORT).exists():
            raise FileNotFoundError(f"there is no action map in {folder}: {REPORT} is missing")
        try:
            described = read_json(folder / REPORT)
            if described["format_version"] in range(1, FORMAT_VERSION):
                raise _EarlierVersionError(f"the action map in {folder} is of an earlier version")
            content = read_bytes(folder / ARRAYS, max_bytes=_MAX_ARRAY_BYTES)
            if described["format_version"] != FORMAT_VERSION:
                raise ValueError(f"its format is {described['format_version']}")
            if described["arrays"] != _digest(content):
                raise ValueError(f"{ARRAYS} is not the file that {REPORT} describes")
            _check_inflated(content)
            with np.load(BytesIO(content), allow_pickle=False) as arrays:
                ends = np.cumsum(arrays["counts"])[:-1]
                lists = tuple(np.split(arrays["robot_actions"], ends))
                regressor = CodeRegressor(**{n: arrays[n] for n in CodeRegressor.__slots__})
                latents = LatentRegressor(
                    **{n: arrays[f"latents_{n}"] for n in LatentRegressor.__slots__}
                )
            return cls(
                dictionary=ActionDictionary(robot_actions=lists),
                regressor=regressor,
                latents=latents,
                report=_read_report(described["report"]),
                origin=described["origin"],
            )
        except _EarlierVersionError:
            raise
        except (OSError, KeyError, TypeError, ValueError, MemoryError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"the action map in {folder} cannot be read: {error}. Delete the folder, and it is "
                "fitted again when it is needed"
            ) from error


def steered_world(genie: Genie, fitted: ActionMap | None, *, sampler: Sampler) -> GenieWorld:
    """A world that robot actions steer too, by a map unless the model was trained on them."""
    if fitted is None or genie.takes_robot_actions:
        return GenieWorld(genie, sampler=sampler)
    found = fitted.robot_map(by_latents=genie.takes_latents)
    return GenieWorld(genie, sampler=sampler, robot_map=lambda: found)


class _EarlierVersionError(FileNotFoundError):
    """As if there were no map: it is fitted again."""


def _check_inflated(content: bytes) -> None:
    """Check that the arrays of an .npz file are not much larger than a fit needs."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > _MAX_ARRAY_BYTES:
        raise ValueError(f"{ARRAYS} inflates to {size:,} bytes, above {_MAX_ARRAY_BYTES:,}")


def _read_report(plain: dict) -> ActionMapReport:
    measured = {name: _measured(value) for name, value in plain["r2"].items()}
    accuracy = _measured(plain["accuracy"])
    latent_r2 = tuple(_measured(value) for value in plain["latent_r2"])
    return ActionMapReport(**plain | {"r2": measured, "accuracy": accuracy, "latent_r2": latent_r2})


def _measured(plain: dict) -> Measured:
    interval = plain["ci95"]
    return Measured(plain["value"], tuple(interval) if interval else None)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def standardisation(
    robot_actions: Float[np.ndarray, "n a"],
) -> tuple[Float[np.ndarray, " a"], Float[np.ndarray, " a"]]:
    """Mean and standard deviation of every dimension; 1 for those that do not vary.

    Raises:
        ValueError: An action is not finite.
    """
    _check_finite(robot_actions)
    spread = robot_actions.std(0)
    return robot_actions.mean(0), np.where(spread > _NARROW, spread, 1.0)


def _with_squares(x: Float[np.ndarray, "n a"]) -> Float[np.ndarray, "n f"]:
    return np.concatenate([x, x**2], axis=1)


def _with_products(x: Float[np.ndarray, "n a"]) -> Float[np.ndarray, "n f"]:
    """The numbers, their squares and all their products."""
    first, second = np.triu_indices(x.shape[1])
    return np.concatenate([x, x[:, first] * x[:, second]], axis=1)


def _check_finite(robot_actions: Float[np.ndarray, "n a"]) -> None:
    bad = np.flatnonzero(~np.isfinite(robot_actions).all(axis=1))
    if len(bad):
        raise ValueError(
            f"robot actions must be finite numbers, but number {bad[0]} of {len(robot_actions)} is "
            f"{robot_actions[bad[0]].tolist()}"
        )


def _check_width(robot_actions: Float[np.ndarray, "n a"], width: int) -> None:
    if robot_actions.shape[1] != width:
        raise ValueError(
            f"the action map was fitted to robot actions of {width} numbers, "
            f"{' '.join(action_names(width))}, but these have {robot_actions.shape[1]}"
        )


def _check_labels(codes: Int[np.ndarray, " n"], *, num_codes: int) -> None:
    if len(codes) == 0:
        raise ValueError("an action map needs at least one labelled transition, got 0")
    if not 0 <= codes.min() <= codes.max() < num_codes:
        raise ValueError(
            f"latent actions must be 0..{num_codes - 1}, got {codes.min()} to {codes.max()}"
        )
