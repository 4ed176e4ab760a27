"""Shapes, names, normals and the eye of the 3D scene."""

import dataclasses

import numpy as np
import pytest

from genie_robo.viz.scene import eye_on, geom_archetype, geom_names, vertex_normals


def test_normals_of_a_cube_point_outwards_along_its_diagonals():
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))])
    normals = vertex_normals(corners, faces)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0)
    outwards = (normals * (corners - 0.5)).sum(axis=1)
    assert (outwards > 0.6).all()


def test_vertex_without_faces_still_gets_a_unit_normal():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], float)
    normals = vertex_normals(vertices, np.array([[0, 1, 2]]))
    np.testing.assert_allclose(normals, [[0, 0, 1]] * 4)


def test_shared_and_missing_names_become_unique(replay):
    geom = replay.geoms[0]
    names = ["link", "", "link", "a b/c", ""]
    geoms = tuple(dataclasses.replace(geom, name=name) for name in names)
    assert geom_names(geoms) == ["link_0", "box_1", "link_2", "a_b_c", "box_4"]


def test_unknown_shape_is_an_error(replay):
    geom = dataclasses.replace(replay.geoms[0], kind="hfield")
    with pytest.raises(ValueError, match="'table' has kind='hfield'; known are box, sphere"):
        geom_archetype(geom)


def test_mesh_without_vertices_is_an_error(replay):
    geom = dataclasses.replace(replay.geoms[0], kind="mesh")
    with pytest.raises(ValueError, match="'table' is a mesh without vertices"):
        geom_archetype(geom)


def test_eye_looks_at_the_scene_from_above_and_farther_for_larger_scenes():
    points = np.array([[-0.4, -0.1, 0.0], [0.2, 0.1, 0.6]])
    eye = eye_on(points)
    assert eye.target == (-0.1, 0.0, 0.216)
    assert eye.position[2] > 0.6
    distance = np.linalg.norm(np.subtract(eye.position, eye.target))
    larger = eye_on(2 * points)
    assert np.linalg.norm(np.subtract(larger.position, larger.target)) == pytest.approx(
        2 * distance, rel=1e-3
    )
    still = eye_on(np.zeros((3, 3)))
    assert np.linalg.norm(still.position) > 0.2, "an end effector that rests is still in view"
