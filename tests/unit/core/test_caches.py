from toolkit.core.caches import cache_directory


def test_the_directory_of_the_environment_or_the_one_of_the_home_or_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/kept")
    assert cache_directory("fftw") == "/var/kept/scape-toolkit/fftw"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory("fftw") == f"{tmp_path}/.cache/scape-toolkit/fftw"
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    assert cache_directory("fftw") == ""
