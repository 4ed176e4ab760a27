"""The pose of a link from measured joints: forward kinematics of a URDF by MuJoCo.

A URDF is data of unknown origin. Only the joints between two links are taken from it, without
shapes and masses, so that no mesh is needed and no other file is opened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from genie_robo.data.cache import digest
from genie_robo.data.settings import PoseSource
from genie_robo.rotations import matrix_to_rpy
from genie_robo.stored_files import read_bytes

MAX_BYTES = 4_000_000
"""Of a URDF; one of a humanoid has about 100,000."""
MAX_LINKS = 200
"""Between the base and the link."""
_MOVING = {"revolute": "hinge", "continuous": "hinge", "prismatic": "slide"}
_MAX_NAME = 200
"""Characters."""
_TURNS = 4 * np.pi
"""Joints with limits never turn farther (rad)."""
_UNIT_INERTIA = dict(zip(["ixx", "iyy", "izz", "ixy", "ixz", "iyz"], "111000", strict=True))
"""MuJoCo wants one, which poses do not depend on."""
_SHOWN = 40


class _Joint(NamedTuple):
    """A joint as the URDF describes it."""

    name: str
    kind: str
    parent: str
    child: str
    origin: Mapping[str, str]
    """Attributes xyz and rpy."""
    axis: Mapping[str, str]
    mimic: Mapping[str, str]
    """Attributes joint, multiplier and offset; empty where it moves by itself."""

    @property
    def moves(self) -> bool:
        return self.kind != "fixed"


class _Drive(NamedTuple):
    """A joint as a linear function of one measured number."""

    column: int
    multiplier: float
    offset: float


class Urdf:
    """The joints of a URDF file."""

    def __init__(self, content: bytes, *, name: str) -> None:
        """Parse a file.

        Args:
            content: Its bytes.
            name: What messages call it.

        Raises:
            ValueError: It is no URDF, or one that could harm: with a DOCTYPE, or a broken tree.
        """
        self.name, self.digest = name, digest(content)
        root = _parse(content, name)
        self.joints = {joint.name: joint for joint in map(self._joint, root.iterfind("joint"))}
        self.links = {str(link.get("name")) for link in root.iterfind("link")}
        self._above = {joint.child: joint for joint in self.joints.values()}
        num_joints = len(root.findall("joint"))
        if len(self.joints) < num_joints or len(self._above) < num_joints:
            raise ValueError(f"{name}: two joints have one name, or one link hangs on two joints")

    @property
    def moving(self) -> tuple[str, ...]:
        """Names of all joints that are not fixed."""
        return tuple(name for name, joint in self.joints.items() if joint.moves)

    def chain(self, link: str, base: str) -> list[_Joint]:
        """The joints from the base, by default the root, to a link.

        Raises:
            KeyError: There is no such link.
            ValueError: The link does not hang on the base, or on a joint that no number describes.
        """
        for setting, wanted in (("link", link), ("base_link", base)):
            if wanted and wanted not in self.links:
                raise KeyError(
                    f"data.source.pose.{setting}={wanted} is no link of {self.name}; it has "
                    f"{_listing(sorted(self.links))}"
                )
        chain: list[_Joint] = []
        while link in self._above and link != base:
            chain.insert(0, self._above[link])
            link = chain[0].parent
            if len(chain) > MAX_LINKS:
                raise ValueError(f"{self.name}: more than {MAX_LINKS} links follow each other")
        if base and link != base:
            above = _listing([joint.parent for joint in chain])
            raise ValueError(
                f"data.source.pose.base_link={base} is not above data.source.pose.link in "
                f"{self.name}; name one of {above}"
            )
        for joint in chain:
            if joint.moves and joint.kind not in _MOVING:
                raise ValueError(
                    f"{self.name}: joint {joint.name} on the way to the link is {joint.kind}, "
                    "which no single number describes; name data.source.pose.base_link below it"
                )
        return chain

    def drive(self, joint: _Joint, measured: Sequence[str]) -> _Drive | None:
        """What moves a joint: its own number, or that of the joint that it mimics."""
        multiplier, offset = 1.0, 0.0
        for _ in range(len(self.joints)):
            if joint.name in measured:
                return _Drive(measured.index(joint.name), multiplier, offset)
            if joint.mimic.get("joint") not in self.joints:
                return None
            offset += multiplier * self._number(joint, "offset", 0.0)
            multiplier *= self._number(joint, "multiplier", 1.0)
            joint = self.joints[joint.mimic["joint"]]
        raise ValueError(f"{self.name}: joint {joint.name} mimics itself")

    def _number(self, joint: _Joint, attribute: str, default: float) -> float:
        try:
            value = float(joint.mimic.get(attribute, default))
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise ValueError(f"{self.name}: the {attribute} of joint {joint.name} is no number")
        return value

    def _joint(self, element: ElementTree.Element) -> _Joint:
        def inside(tag: str, attribute: str = "") -> Any:
            found = element.find(tag)
            attributes = {} if found is None else dict(found.attrib)
            return attributes.get(attribute, "") if attribute else attributes

        name, kind = str(element.get("name")), str(element.get("type"))
        parent, child = inside("parent", "link"), inside("child", "link")
        if not (element.get("name") and parent and child):
            raise ValueError(f"{self.name}: joint {name!a} lacks a name, a parent or a child")
        for text in (name, kind, parent, child):
            if not text.isprintable() or len(text) > _MAX_NAME:
                raise ValueError(
                    f"{self.name}: {ascii(text)[:_MAX_NAME]} is too long or unprintable"
                )
        return _Joint(name, kind, parent, child, inside("origin"), inside("axis"), inside("mimic"))


@dataclass(frozen=True, slots=True)
class Kinematics:
    """From measured joints to the pose of a link in the frame of a base link."""

    model: Any
    """A mujoco.MjModel of the chain alone."""
    chain: tuple[str, ...]
    """Its moving joints, from the base on."""
    drives: tuple[_Drive, ...]
    """What moves each of them."""
    is_limited: tuple[bool, ...]
    """Whether each turns by a limited angle."""

    def poses(
        self, joints: Float[np.ndarray, "t k"]
    ) -> tuple[Float[np.ndarray, "t 3"], Float[np.ndarray, "t 3"]]:
        """Position (m) and roll, pitch, yaw (rad) of the link in every step.

        Args:
            joints: Measured values as they are stored.

        Raises:
            ValueError: One turns so far that it cannot be in radians.
        """
        import mujoco

        columns = [drive.column for drive in self.drives]
        moved = joints[:, columns] * [drive.multiplier for drive in self.drives]
        moved += [drive.offset for drive in self.drives]
        self._check_turns(moved)
        data = mujoco.MjData(self.model)  # own one for each call, so that threads can share this
        positions, matrices = np.empty((len(joints), 3)), np.empty((len(joints), 9))
        for step, row in enumerate(moved):
            data.qpos[:] = row
            mujoco.mj_kinematics(self.model, data)
            positions[step], matrices[step] = data.xpos[-1], data.xmat[-1]
        return positions, matrix_to_rpy(matrices.reshape(-1, 3, 3))

    def _check_turns(self, moved: Float[np.ndarray, "t n"]) -> None:
        far = np.abs(moved).max(axis=0, initial=0.0) * self.is_limited
        if (far > _TURNS).any():
            name = self.chain[int(far.argmax())]
            raise ValueError(
                f"joint {name} turns by {far.max():.4g}, which are no radians; give "
                "data.source.pose.joints_scale, 0.0174533 for degrees"
            )


def open_urdf(pose: PoseSource) -> Urdf:
    """The URDF that a source names.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no URDF.
    """
    path = Path(pose.urdf)
    try:
        stat = path.stat()
    except OSError as error:
        raise FileNotFoundError(
            f"data.source.pose.urdf={pose.urdf} does not exist; give the URDF file of the robot"
        ) from error
    return _read(path.resolve(), stat.st_mtime_ns, stat.st_size)


def open_kinematics(pose: PoseSource) -> Kinematics:
    """The forward kinematics that a source names; `pose.urdf_joints` must be known.

    Raises:
        FileNotFoundError: There is no such URDF.
        KeyError: It has no such link or joint.
        ValueError: It is damaged, or a joint between base and link is not measured.
    """
    urdf = open_urdf(pose)
    return _build(urdf, pose.link, pose.base_link, pose.urdf_joints, pose.joints_scale)


@lru_cache(maxsize=8)
def _read(path: Path, mtime_ns: int, num_bytes: int) -> Urdf:
    del mtime_ns, num_bytes
    return Urdf(read_bytes(path, max_bytes=MAX_BYTES), name=path.name)


@lru_cache(maxsize=8)
def _build(urdf: Urdf, link: str, base: str, measured: tuple[str, ...], scale: float) -> Kinematics:
    if unknown := [name for name in measured if name and name not in urdf.moving]:
        raise KeyError(
            f"data.source.pose.urdf_joints names {_listing(unknown)}, which {urdf.name} does not "
            f"have; its joints are {_listing(urdf.moving)}"
        )
    chain = urdf.chain(link, base)
    moving = [joint for joint in chain if joint.moves]
    drives = {joint.name: urdf.drive(joint, measured) for joint in moving}
    if absent := [joint for joint in moving if drives[joint.name] is None]:
        raise ValueError(
            f"the way to {link} in {urdf.name} moves with {_listing([j.name for j in absent])}, "
            "which is not measured: name the joints in the order of data.source.pose.joints, '' "
            "for one that the URDF lacks, with data.source.pose.urdf_joints=[...], or begin below "
            "the last one "
            f"with data.source.pose.base_link={absent[-1].child}"
        )
    if not moving:
        raise ValueError(
            f"no joint moves {link} against {base or 'the root'} in {urdf.name}; name another "
            "data.source.pose.link or base_link"
        )
    return Kinematics(
        model=_compile(chain, urdf.name),
        chain=tuple(joint.name for joint in moving),
        drives=tuple(
            drive._replace(multiplier=drive.multiplier * scale)
            if urdf.joints[measured[drive.column]].kind != "prismatic"
            else drive
            for drive in drives.values()
            if drive is not None
        ),
        is_limited=tuple(joint.kind == "revolute" for joint in moving),
    )


def _compile(chain: Sequence[_Joint], name: str) -> Any:
    """The chain alone as a URDF of bodies without a shape, compiled."""
    import mujoco

    robot = ElementTree.Element("robot", name="chain")
    settings = ElementTree.SubElement(robot, "mujoco")
    ElementTree.SubElement(settings, "compiler", fusestatic="false", discardvisual="true")
    for number in range(len(chain) + 1):
        link = ElementTree.SubElement(robot, "link", name=f"link{number}")
        inertial = ElementTree.SubElement(link, "inertial")
        ElementTree.SubElement(inertial, "mass", value="1")
        ElementTree.SubElement(inertial, "inertia", _UNIT_INERTIA)
    for number, joint in enumerate(chain):
        kind = joint.kind if joint.kind != "revolute" else "continuous"
        added = ElementTree.SubElement(robot, "joint", name=f"joint{number}", type=kind)
        ElementTree.SubElement(added, "parent", link=f"link{number}")
        ElementTree.SubElement(added, "child", link=f"link{number + 1}")
        ElementTree.SubElement(added, "origin", _vectors(joint.origin, ("xyz", "rpy"), joint, name))
        axis = _vectors({"xyz": "1 0 0", **joint.axis}, ("xyz",), joint, name)
        ElementTree.SubElement(added, "axis", axis)
    try:
        return mujoco.MjModel.from_xml_string(ElementTree.tostring(robot, encoding="unicode"))
    except ValueError as error:
        raise ValueError(f"{name} has joints that MuJoCo refuses: {error}") from error


def _vectors(
    given: Mapping[str, str], names: Sequence[str], joint: _Joint, file: str
) -> dict[str, str]:
    """Checked vectors of three numbers."""
    found = {}
    for name in names:
        text = given.get(name, "0 0 0")
        try:
            values = np.array([float(word) for word in text.split()])
        except ValueError:
            values = np.zeros(0)
        if values.shape != (3,) or not np.isfinite(values).all():
            raise ValueError(f"{file}: {name} of joint {joint.name} is not three finite numbers")
        found[name] = " ".join(map(repr, values.tolist()))
    return found


def _parse(content: bytes, name: str) -> ElementTree.Element:
    try:
        text = content.decode()
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ValueError("it has a DOCTYPE, which could multiply or open files; remove it")
        root = ElementTree.fromstring(text)  # noqa: S314  no DOCTYPE, so no entities; bounded size
    except (ValueError, ElementTree.ParseError) as error:
        raise ValueError(f"{name} is no URDF that can be read: {error}") from error
    if root.tag != "robot":
        advice = "; MJCF is not read, give the robot's URDF" if root.tag == "mujoco" else ""
        raise ValueError(f"{name} is no URDF: it is a <{root.tag[:40]}>, not a <robot>{advice}")
    return root


def _listing(names: Sequence[str]) -> str:
    shown = [name[:60] if name.isprintable() else ascii(name)[:60] for name in names[:_SHOWN]]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(shown) + more
