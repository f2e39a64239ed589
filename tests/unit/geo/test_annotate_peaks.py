import gzip
import json

import pytest

from toolkit.core.errors import BadData, NoInput
from toolkit.geo.annotate.names import comparable, merged
from toolkit.geo.annotate.peaks import Peak, box_around, read_peaks


def everywhere(latitude, longitude):
    return True


@pytest.fixture
def read(tmp_path):
    """Peaks of a list with that content, and the complaints about it."""

    def run(content, language=None, area=everywhere):
        path = tmp_path / "list"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        complaints = []
        peaks = read_peaks(str(path), language, area, lambda *words: complaints.append(words))
        return peaks, [(place.removeprefix(str(path) + ": "), problem) for place, problem, _ in complaints]

    return run


def geonames(name, latitude, longitude, code="PK", height="", alternates="", feature="T"):
    columns = ["2658434", name, name, alternates, str(latitude), str(longitude), feature, code, "CH", "", "VS", "", "", "", "0", height]
    return "\t".join([*columns, "4400", "Europe/Zurich", "2024-01-01"]) + "\n"


def facts(peaks):
    return [(peak.name, peak.latitude, peak.longitude, peak.height) for peak in peaks]


def test_geonames(read):
    content = geonames("Matterhorn", 45.97638, 7.65861, height="4478", alternates="Cervino,Mont Cervin")
    content += geonames("Zermatt", 46.02126, 7.749, code="PPL", feature="P") + geonames("Monte Rosa", 45.93, 7.87, code="MTS")
    peaks, complaints = read(content)
    assert facts(peaks) == [("Matterhorn", 45.97638, 7.65861, 4478.0), ("Monte Rosa", 45.93, 7.87, None)]
    assert peaks[0].keys == {"matterhorn", "cervino", "mont cervin"}
    assert complaints == []


def test_geonames_rows_that_are_bad(read):
    content = geonames("A", 46, 7) + geonames("B", "north", 7) + geonames("C", 46, 361) + "1\t2\n"
    content += geonames("D", 91, 7) + geonames("E", 47, 8)
    peaks, complaints = read(content)
    assert [peak.name for peak in peaks] == ["A", "E"]
    assert complaints == [
        ("line 2", "has the latitude 'north', which is no number"),
        ("line 3", "has the longitude 361, which is not on the Earth"),
        ("line 4", "has 2 columns, not 19"),
        ("line 5", "has the latitude 91, which is not on the Earth"),
    ]


def test_gnis_as_it_was_until_2021(read):
    heading = "FEATURE_ID|FEATURE_NAME|FEATURE_CLASS|STATE_ALPHA|PRIM_LAT_DEC|PRIM_LONG_DEC|ELEV_IN_M|ELEV_IN_FT|MAP_NAME\n"
    rows = '1414314|Denali|Summit|AK|63.0690|-151.0070|6190|20308|Mount McKinley A-3\n2|"Sugar" Lake|Lake|AK|63|-151|1|3|X\n'
    rows += '3|Knob "The|Summit|AK|63.1|-151.2||1000|X\n4|Nowhere Peak|Summit|AK|0|0|||Unknown\n'
    peaks, complaints = read("\ufeff" + heading + rows)
    assert facts(peaks)[0] == ("Denali", 63.069, -151.007, 6190.0)
    assert facts(peaks)[1][:3] == ('Knob "The', 63.1, -151.2)
    assert peaks[1].height == pytest.approx(304.8)
    assert len(peaks) == 2 and complaints == []


def test_gnis_as_it_is_since(read):
    content = "feature_id|feature_name|feature_class|state_name|prim_lat_dec|prim_long_dec|source_lat_dec\r\n"
    content += "1|Mount Blackburn|Summit|Alaska|61.7305|-143.4321|0.0\r\n"
    content += "2|Chitina River|Stream|Alaska|61|-144|0\r\n3|Bad|Summit|Alaska|61|x|0\r\n"
    peaks, complaints = read(content)
    assert facts(peaks) == [("Mount Blackburn", 61.7305, -143.4321, None)]
    assert complaints == [("line 4", "has the longitude 'x', which is no number")]


def feature(longitude, latitude, **tags):
    return {"type": "Feature", "properties": tags, "geometry": {"type": "Point", "coordinates": [longitude, latitude]}}


def test_geojson_of_openstreetmap(read):
    features = [
        feature(7.65, 45.97, natural="peak", name="Matterhorn", ele="4478", **{"name:it": "Cervino", "prominence": "1040"}),
        feature(14.99, 37.75, natural="volcano", name="Etna", ele="3,357 m"),
        feature(7.7, 45.9, natural="peak", ele="3000"),
        feature(7.7, 45.9, natural="saddle", name="Joch"),
        feature("east", 45.9, natural="peak", name="Wrong"),
    ]
    content = json.dumps({"type": "FeatureCollection", "features": features}, indent=1)
    peaks, complaints = read(content, language="it")
    assert facts(peaks) == [("Cervino", 45.97, 7.65, 4478.0), ("Etna", 37.75, 14.99, 3357.0)]
    assert [peak.prominence for peak in peaks] == [1040.0, None]
    assert [peak.translated for peak in peaks] == [True, False]
    assert peaks[0].keys == {"matterhorn", "cervino"}
    assert complaints == [("feature 5", "has the longitude 'east', which is no number")]


def test_an_answer_of_overpass(read):
    fuji = {"natural": "volcano", "name": "富士山", "name:en": "Mount Fuji", "ele": "3776"}
    elements = [
        {"type": "node", "id": 1, "lat": 35.36, "lon": 138.73, "tags": fuji},
        {"type": "way", "id": 2, "center": {"lat": 35.4, "lon": 138.8}, "tags": {"natural": "peak", "name": "尾根"}},
        {"type": "node", "id": 3, "tags": {"natural": "peak", "name": "Lost"}},
    ]
    peaks, complaints = read(json.dumps({"version": 0.6, "elements": elements}))
    assert facts(peaks) == [("富士山", 35.36, 138.73, 3776.0), ("尾根", 35.4, 138.8, None)]
    assert complaints == [("feature 3", "has no latitude")]


@pytest.mark.parametrize(
    ("written", "metres"),
    [
        ("4158", 4158), ("4158 m", 4158), ("4158,5", 4158.5),
        ("13,642 ft", 13642 * 0.3048), ("13642'", 13642 * 0.3048), ("4'158", 4158), ("-12", -12), ("~2000m", 2000), ("1 234 m", 1234),
        ("unknown", None), ("99999", None), ("12;13", None), ("", None), ("3.2 km", None),
    ],
)  # fmt: skip
def test_heights_as_people_write_them(read, written, metres):
    (peak,), complaints = read(json.dumps({"features": [feature(7, 46, natural="peak", name="A", ele=written)]}))
    assert peak.height == (None if metres is None else pytest.approx(metres))
    assert complaints == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables(read, delimiter):
    heading = delimiter.join(["Name", "Latitude", "lon", "elevation_m"])
    content = f"{heading}\n" + delimiter.join(['"Piz Bernina"', "46.3823", "9.9081", "4048.6"]) + f"\n\nA{delimiter}46{delimiter}\n"
    peaks, complaints = read(content)
    assert facts(peaks) == [("Piz Bernina", 46.3823, 9.9081, 4048.6)]
    assert complaints == [("line 4", "has no longitude")]


def test_signs_that_nothing_can_draw(read):
    names = ["Half \ud800", "\x00 A\x07\n B ", "می‌خوش"]
    features = [feature(7, 46, natural="peak", name=name) for name in names] + [feature(10**400, 46, natural="peak", name="Far")]
    peaks, complaints = read(json.dumps({"features": features}))
    assert [peak.name for peak in peaks] == ["Half ?", "A B", "می‌خوش"]
    assert len(complaints) == 1


def test_a_list_that_is_packed(read):
    content = geonames("Matterhorn", 45.97638, 7.65861, height="4478") * 3
    assert read(gzip.compress(content.encode())) == read(content)


_NO_LISTS = ["", "hello\n", "a,b,c\n1,2,3\n", '{"type": "Topology"}', '{"features": 3}', '{"a"', b"\xff\xfe", "[" * 100_000]


@pytest.mark.parametrize("content", _NO_LISTS)
def test_what_is_no_list(read, content):
    with pytest.raises(BadData) as error:
        read(content)
    assert error.value.remedy


def test_a_list_that_was_cut_short(read):
    packed = gzip.compress((geonames("Matterhorn", 45.9, 7.6) * 1000).encode())
    with pytest.raises(BadData, match="cut short"):
        read(packed[:-20])


def test_no_list(tmp_path):
    with pytest.raises(NoInput):
        read_peaks(str(tmp_path / "none"), None, everywhere, print)


def test_only_an_area_is_kept(read):
    content = "".join(geonames(f"P{step}", 46 + step / 10, 179.9) for step in range(20)) + geonames("Over the date line", 46, -179.9)
    peaks, _ = read(content, area=box_around(46.0, 179.9, 50e3))
    assert [peak.name for peak in peaks] == ["P0", "P1", "P2", "P3", "P4", "Over the date line"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mt. Séliné", "MOUNT SELINE"),
        ("Mount  Saint-Elias", "Mt St Elias"),
        ("Aoraki / Mount Cook", "Aoraki–Mt Cook"),
        ("Großglockner", "GROSSGLOCKNER"),
        ("Łomnica", "lomnica"),
        ("Pic d’Aneto", "Pic d'Aneto"),
    ],
)
def test_names_that_are_the_same(one, other):
    assert comparable(one) == comparable(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Piz Bernina", "Pico Bernina"), ("कालापानी", "कलपन"), ("Mont Blanc", "Mount Blanc"), ("富士山", "富山")]
)
def test_names_that_are_not(one, other):
    assert comparable(one) != comparable(other)


def peak(name, latitude, longitude, height=None, prominence=None, others=(), translated=False):
    return Peak(name, latitude, longitude, height, prominence, frozenset(map(comparable, [name, *others])), translated)


def test_duplicates_are_merged_by_name_and_distance():
    lists = [
        peak("Mt. Cook", 46.0, 8.0),
        peak("Mount Cook", 46.002, 8.003, height=3724.0, prominence=3139.0),  # 320 m away
        peak("Mount Cook", 46.02, 8.0, height=2000.0),  # 2.2 km away: another one
        peak("Aoraki", 46.001, 8.0, others=["Mt Cook"]),
        peak("Sebastopol", 46.0, 8.0),
    ]
    found = merged(lists)
    assert facts(found) == [("Mt. Cook", 46.0, 8.0, 3724.0), ("Mount Cook", 46.02, 8.0, 2000.0), ("Sebastopol", 46.0, 8.0, None)]
    assert found[0].prominence == 3139.0
    assert found[0].keys == {"mount cook", "aoraki"}


def test_a_name_in_the_language_asked_for_goes_first():
    found = merged([peak("Matterhorn", 45.97, 7.65, 4478.0), peak("Cervino", 45.971, 7.65, 4476.0, others=["Matterhorn"], translated=True)])
    assert facts(found) == [("Cervino", 45.97, 7.65, 4478.0)]
