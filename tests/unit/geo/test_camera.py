import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.core.errors import BadData, NoInput
from toolkit.geo.camera import Camera, camera_from_hfov, project, rays, read_camera, scaled

small = st.floats(-0.2, 0.2)


@st.composite
def cameras(draw):
    width, height = draw(st.integers(100, 6000)), draw(st.integers(100, 6000))
    focal = max(width, height) * draw(st.floats(0.6, 4.0))
    return Camera(
        width,
        height,
        focal,
        focal * draw(st.floats(0.95, 1.05)),
        width * draw(st.floats(0.4, 0.6)),
        height * draw(st.floats(0.4, 0.6)),
        tuple(draw(st.tuples(small, small, st.floats(-0.05, 0.05), small, small, st.floats(-0.05, 0.05)))),
        tuple(draw(st.tuples(st.floats(-0.005, 0.005), st.floats(-0.005, 0.005)))),
    )


@settings(max_examples=80)
@given(cameras(), st.integers(0, 2**32 - 1))
def test_pixels_come_back_from_their_rays(camera, seed):
    random = np.random.default_rng(seed)
    x, y = random.uniform(0, camera.width, 50), random.uniform(0, camera.height, 50)
    directions = rays(camera, x, y)
    seen = np.isfinite(directions[:, 0])
    back_x, back_y = project(camera, directions[seen])
    np.testing.assert_allclose(np.linalg.norm(directions[seen], axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(back_x, x[seen], atol=2e-9 * camera.fx)
    np.testing.assert_allclose(back_y, y[seen], atol=2e-9 * camera.fy)
    assert np.hypot(x[~seen] - camera.cx, y[~seen] - camera.cy).min(initial=np.inf) > 0.2 * camera.fx  # the centre always has a ray


@settings(max_examples=80)
@given(cameras(), st.integers(0, 2**32 - 1))
def test_rays_come_back_from_their_pixels(camera, seed):
    random = np.random.default_rng(seed)
    slopes = random.uniform(-1.2, 1.2, (50, 2))
    directions = np.column_stack([slopes, np.ones(50)])
    x, y = project(camera, directions)
    seen = np.isfinite(x)
    back = rays(camera, x[seen], y[seen])
    known = np.isfinite(back[:, 0])
    # Where the distortion almost turns back, pixels tell directions badly: there only the pixel must agree.
    np.testing.assert_allclose(project(camera, back[known]), (x[seen][known], y[seen][known]), atol=1e-8 * camera.fx)
    calm = known & (np.hypot(*slopes[seen].T) < 0.6)
    np.testing.assert_allclose((back[:, :2] / back[:, 2:])[calm], slopes[seen][calm], atol=1e-6)
    assert known[np.hypot(*slopes[seen].T) < 0.3].all()


def test_conventions():
    camera = camera_from_hfov(200, 100, 90.0)
    assert (camera.fx, camera.cx, camera.cy) == (pytest.approx(100.0), 99.5, 49.5)
    forward, left_border, below = rays(camera, np.array([99.5, -0.5, 99.5]), np.array([49.5, 49.5, 149.5]))
    np.testing.assert_allclose(forward, [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(left_border, np.array([0, 1, 1]) / np.sqrt(2), atol=1e-12)  # y is left
    np.testing.assert_allclose(below, np.array([1, 0, 1]) / np.sqrt(2), atol=1e-12)  # x is down
    assert np.isnan(project(camera, np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]))).all()


def test_distortion_is_that_of_opencv():
    # cv2.projectPoints([[X, Y, 1]]) by hand for X = 0.3, Y = -0.2, k1..k3 = -0.2, 0.05, 0.01, k4..k6 = 0.02, 0.01, 0.005, p = 0.001, -0.002
    camera = Camera(1000, 800, 1000.0, 1000.0, 500.0, 400.0, (-0.2, 0.05, 0.01, 0.02, 0.01, 0.005), (0.001, -0.002))
    r2 = 0.13
    ratio = (1 - 0.2 * r2 + 0.05 * r2**2 + 0.01 * r2**3) / (1 + 0.02 * r2 + 0.01 * r2**2 + 0.005 * r2**3)
    x = 0.3 * ratio + 2 * 0.001 * 0.3 * -0.2 + -0.002 * (r2 + 2 * 0.09)
    y = -0.2 * ratio + 0.001 * (r2 + 2 * 0.04) + 2 * -0.002 * 0.3 * -0.2
    seen = project(camera, np.array([[-0.2, -0.3, 1.0]]))
    np.testing.assert_allclose([seen[0][0], seen[1][0]], [500 + 1000 * x, 400 + 1000 * y])


def test_no_direction_beyond_the_turning_point():
    camera = Camera(1000, 800, 500.0, 500.0, 499.5, 399.5, (-0.3, 0, 0, 0, 0, 0))
    # r (1 - 0.3 r^2) turns at r = 1 / sqrt(0.9) = 1.054, where it reaches 0.703: pixels farther out than 351 see nothing.
    assert np.isfinite(rays(camera, np.array([499.5 + 350.0]), np.array([399.5]))).all()
    assert np.isnan(rays(camera, np.array([499.5 + 353.0]), np.array([399.5]))).all()
    x, _ = project(camera, np.array([[0.0, -1.0, 1.0], [0.0, -1.5, 1.0]]))
    assert np.isfinite(x[0]) and np.isnan(x[1])


def test_scaling_keeps_the_rays():
    camera = Camera(1000, 800, 1100.0, 1090.0, 510.0, 390.0, (-0.1, 0.02, 0, 0, 0, 0), (0.001, 0.002))
    half = scaled(camera, 500, 400)
    corner, inner = np.array([0.0, 0.0]), np.array([0.2, 0.5])  # shares of width and height
    for share in (corner, inner):
        seen = [rays(lens, share[:1] * lens.width - 0.5, share[1:] * lens.height - 0.5) for lens in (camera, half)]
        np.testing.assert_allclose(seen[0], seen[1], atol=1e-12)
    scaled(camera, 333, 266)  # rounded to whole pixels
    for size in ((800, 1000), (1000, 700)):
        with pytest.raises(BadData, match="1000 x 800"):
            scaled(camera, *size)


def test_reading(tmp_path):
    path = tmp_path / "camera.json"
    good = {"width": 968, "height": 648, "fx": 1009.4, "fy": 1016.6, "cx": 481.1, "cy": 311.2, "k": [-0.07, 0.03]}
    good["p"] = [0.001, 0.0005]
    path.write_text(json.dumps(good))
    assert read_camera(str(path)) == Camera(968, 648, 1009.4, 1016.6, 481.1, 311.2, (-0.07, 0.03, 0, 0, 0, 0), (0.001, 0.0005))
    path.write_text(json.dumps({key: good[key] for key in ("width", "height", "fx", "fy", "cx", "cy")}))
    assert read_camera(str(path)).k == (0.0,) * 6
    changes = [
        {"fx": -1}, {"fx": "1"}, {"fx": True}, {"fx": float("nan")}, {"fx": None}, {"width": 10.5}, {"cx": 2000},
        {"k": [0] * 7}, {"k": ["a"]}, {"p": 3}, {"fx": 10, "fy": 10}, {"K": []},
    ]  # fmt: skip
    for change in changes:
        path.write_text(json.dumps(good | change))
        with pytest.raises(BadData, match="camera.json"):
            read_camera(str(path))
    for content in ("", "[]", "{", "{}", "\x00\xff"):
        path.write_text(content)
        with pytest.raises(BadData, match="camera.json"):
            read_camera(str(path))
    with pytest.raises(NoInput):
        read_camera(str(tmp_path / "none.json"))


@pytest.mark.parametrize("hfov", [0.0, -5.0, 170.0, 360.0, float("nan"), float("inf")])
def test_impossible_fields_of_view(hfov):
    with pytest.raises(BadData, match="field of view"):
        camera_from_hfov(100, 100, hfov)
