"""One photograph against many panoramas: the same poses as one by one, from arrays and from files."""

import io

import numpy as np
import pytest

from tests.unit.geo.signals import cap_of_arcs, rotated
from toolkit.core.errors import BadData, UsageError
from toolkit.geo import batch as module
from toolkit.geo.batch import Batch
from toolkit.geo.batch_list import ranked_panoramas
from toolkit.geo.block import Block
from toolkit.geo.candidates import rank_candidates
from toolkit.geo.coefficients_file import analysed, array_of, coefficients_of, read_panorama_sphere
from toolkit.geo.correlation import correlate, window
from toolkit.geo.pose import rotation_matrix
from toolkit.geo.sphere import analyse, splat

B = 24
POSES = [(77, -13, 7), (10, 20, 3), (300, 1, -3), (181, -25, 12), (355, 29, -14), (120, 3, 1), (240, -2, 9)]


def world(pose, bandwidth=B) -> np.ndarray:
    other = rotated(cap_of_arcs(2, spread=0.5), rotation_matrix(pose[0] + 120, 10, 0))
    return splat(rotated(cap_of_arcs(1), rotation_matrix(*pose)), bandwidth) + splat(other, bandwidth)


@pytest.fixture(scope="module")
def spheres() -> list[np.ndarray]:
    return [world(pose) for pose in POSES]


@pytest.fixture(scope="module")
def photo():
    return analyse(splat(cap_of_arcs(1), B), B)


@pytest.fixture(scope="module")
def panoramas(spheres) -> np.ndarray:
    return np.stack([array_of(analyse(sphere, B)) for sphere in spheres])


def one_by_one(panoramas, photo, cells, top=10, separation=3.0, **options):
    for panorama in panoramas:
        slices = correlate(coefficients_of(panorama), photo, cells, precision="float64", **options)
        yield rank_candidates(Block(*cells.axes, slices), top, separation)[0]


def assert_same(found, expected):
    """A maximum that is flat in a direction has an uncertain place, not an uncertain height."""
    assert len(found) == len(expected) > 0
    highest = expected[0].score
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.rank == theirs.rank
        assert ours.score == pytest.approx(theirs.score, abs=1e-5 * highest)
        assert np.allclose([ours.yaw, ours.pitch, ours.roll], [theirs.yaw, theirs.pitch, theirs.roll], atol=0.1)


@pytest.mark.parametrize("spin", ["0", "2", "both"])
@pytest.mark.parametrize(
    "limits",
    [
        {"pitch": (-30, 30), "roll": (-15, 15)},
        {},
        {"yaw": (300, 420), "pitch": (-20, 40)},
        {"yaw": (20, 120), "pitch": (-16, -10), "roll": (7, 8)},
    ],
    ids=["camera", "whole", "across north", "narrow"],
)
def test_equals_one_by_one(panoramas, photo, spin, limits):
    cells = window(B, **limits)
    found = list(Batch(photo, cells, spin=spin, scalar_weight=0.3).best_poses(panoramas))
    for ours, theirs in zip(found, one_by_one(panoramas, photo, cells, spin=spin, scalar_weight=0.3), strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_pitches_done_at_a_time_do_not_show(panoramas, photo, rows):
    for limits in ((None, None, (-30, 30)), (None, (10, 25), None), (None, (9, 12), None)):
        whole, parts = (Batch(photo, window(B, *limits)) for _ in range(2))
        whole._rows, parts._rows = 1000, rows
        for ours, theirs in zip(parts.best_poses(panoramas), whole.best_poses(panoramas), strict=True):
            assert_same(ours, theirs)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_blocks_of_pitches_do_not_show(panoramas, photo, monkeypatch, rows):
    cells = window(B, None, (-40, 40), (-30, 30))
    whole = Batch(photo, cells)
    row_bytes = 8 * len(cells.roll) * B * (B + 1)
    monkeypatch.setattr(module, "_TABLE_BYTES", (rows + 2) * row_bytes)
    parts = Batch(photo, cells)
    many = panoramas
    tables = []
    monkeypatch.setattr(module, "rotated", lambda *arguments, made=module.rotated: tables.append(made(*arguments)) or tables[-1])
    found = list(parts.best_poses(many))
    assert len(tables) > 2
    assert max(sum(table.nbytes for table in some) for some in tables) <= (rows + 2) * row_bytes
    for ours, theirs in zip(found, whole.best_poses(many), strict=True):
        assert_same(ours, theirs)


def test_few_panoramas_are_correlated_one_by_one(panoramas, photo, monkeypatch):
    cells = window(B, None, (-40, 40))
    monkeypatch.setattr(module, "rotated", None)
    (found,) = Batch(photo, cells).best_poses(panoramas[:1])
    assert_same(found, next(one_by_one(panoramas, photo, cells)))


def test_many_more_maxima_than_are_kept(photo):
    random = np.random.default_rng(0)
    noise = (random.normal(size=(2, 3, B * (B + 1) // 2)) + 1j * random.normal(size=(2, 3, B * (B + 1) // 2))).astype(np.complex64)
    noise[..., :B] = noise[..., :B].real
    noise = np.tile(noise, (4, 1, 1))  # enough for tables
    sharp = analyse(splat(cap_of_arcs(1, count=3, spread=0.05), B), B)
    cells = window(B)
    for top, separation in ((1, 3.0), (10, 60.0), (40, 40.0)):
        found = list(Batch(sharp, cells, top=top, separation=separation).best_poses(noise))
        for ours, theirs in zip(found, one_by_one(noise, sharp, cells, top, separation), strict=True):
            assert_same(ours, theirs)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads_and_panoramas(panoramas, photo, threads):
    batch = Batch(photo, window(B, None, (-30, 30), (-15, 15)), threads=threads, top=2)
    many = panoramas[np.arange(batch.at_once + 5) % len(panoramas)]
    found = list(batch.best_poses(many))
    assert len(found) == len(many)
    for number, poses in enumerate(found):
        assert_same(poses, found[number % len(panoramas)])
    assert list(batch.best_poses(many[:0])) == []


@pytest.fixture
def files(tmp_path, spheres, panoramas, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("sphere.npy", spheres[0])
    np.save("one.npy", panoramas[0])
    np.save("many.npy", panoramas)
    spoiled = panoramas.copy()
    spoiled[1, 2, 5] = np.nan
    spoiled[3] = 0
    np.save("spoiled.npy", spoiled)
    np.save("low.npy", array_of(analyse(splat(cap_of_arcs(1), B // 2), B // 2)))
    np.save("real.npy", np.ones((3, 4), "f4"))
    np.save("shape.npy", np.ones((3, 5), "c8"))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "many.npy").read_bytes()[:-100])
    (tmp_path / "text.npy").write_text("no array")
    return tmp_path


def test_a_list_of_files_in_its_order(files, photo, panoramas):
    batch = Batch(photo, window(B, None, (-30, 30), (-15, 15)), top=1)
    names = [f"{name}.npy" for name in ["sphere", "absent", "one", "many", "low", "spoiled", "real", "shape", "text", "one"]]
    names.insert(-2, ".")
    result = list(ranked_panoramas(batch, names))
    problems = {name: str(poses) for name, poses in result if isinstance(poses, Exception)}
    assert [name for name, _ in result] == [
        "sphere.npy", "absent.npy", "one.npy", *(f"many.npy:{n}" for n in range(7)), "low.npy",
        *(f"spoiled.npy:{n}" for n in range(7)), "real.npy", "shape.npy", ".", "text.npy", "one.npy",
    ]  # fmt: skip
    assert list(problems) == ["absent.npy", "low.npy", "spoiled.npy:1", "spoiled.npy:3", "real.npy", "shape.npy", ".", "text.npy"]
    assert all(text.startswith(name + ": ") and "; " in text for name, text in problems.items())
    assert f"bandwidth {B // 2}" in problems["low.npy"]
    expected = dict(zip((f"many.npy:{n}" for n in range(7)), one_by_one(panoramas, photo, batch.cells, 1), strict=True))
    for name, poses in result:
        if name not in problems:
            assert_same(poses, expected["many.npy:" + (name[-1] if ":" in name else "0")])


def test_a_file_of_many_that_is_cut_short(files, photo, panoramas, monkeypatch):
    import toolkit.geo.coefficients_file as reading

    monkeypatch.setattr(reading, "_PIECE_BYTES", 2 * panoramas[0].nbytes)
    result = list(ranked_panoramas(Batch(photo, window(B, None, (-30, 30), (-15, 15))), ["cut.npy", "one.npy"]))
    assert [name for name, _ in result] == [*(f"cut.npy:{n}" for n in range(6)), "cut.npy", "one.npy"]
    assert isinstance(result[6][1], BadData) and "too early" in str(result[6][1])


def test_groups_larger_and_smaller_than_files(files, photo):
    batch = Batch(photo, window(B, None, (-30, 30), (-15, 15)), top=1)
    names = ["many.npy", "spoiled.npy", "absent.npy"] * 4
    whole = list(ranked_panoramas(batch, names))
    for batch.at_once in (1, 2, 3, 7):
        parts = list(ranked_panoramas(batch, names))
        assert [name for name, _ in parts] == [name for name, _ in whole]
        assert [str(poses) for _, poses in parts if isinstance(poses, Exception)] == [str(p) for _, p in whole if isinstance(p, Exception)]
        for (_, ours), (_, theirs) in zip(parts, whole, strict=True):
            if not isinstance(ours, Exception):
                assert_same(ours, theirs)


def test_coefficients_of_a_higher_bandwidth_are_cut(spheres):
    both = [analysed(form, 10) for form in (spheres[0], coefficients_of(array_of(analyse(spheres[0], B))))]
    for name in ("electric", "magnetic", "scalar"):
        assert np.allclose(*(getattr(one, name) for one in both), atol=1e-6 * np.abs(both[0].scalar).max())
    with pytest.raises(UsageError, match="bandwidth 24"):
        analysed(coefficients_of(array_of(analyse(spheres[0], B))), 25)


def test_a_panorama_is_read_in_either_form(files, spheres, panoramas):
    assert np.array_equal(read_panorama_sphere(io.BytesIO((files / "sphere.npy").read_bytes()), "f"), spheres[0])
    read = read_panorama_sphere(io.BytesIO((files / "one.npy").read_bytes()), "f")
    assert read.bandwidth == B and np.array_equal(array_of(read), panoramas[0])
    with pytest.raises(BadData, match="7 panoramas"):
        read_panorama_sphere(io.BytesIO((files / "many.npy").read_bytes()), "f")
    for name, problem in (("real.npy", "shape"), ("shape.npy", "complex"), ("text.npy", "no .npy")):
        with pytest.raises(BadData, match=problem):
            read_panorama_sphere(io.BytesIO((files / name).read_bytes()), name)
