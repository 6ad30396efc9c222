"""The margin of the recommendation, from the command line and from a config file: what it changes, and what it does not."""

from __future__ import annotations

import pytest

from fake_results import fake_result
from lrscope.cli import main
from lrscope.commands import find_map
from lrscope.config.settings import MapSettings, load_settings, read_margin
from lrscope.errors import LrscopeError
from lrscope.results import save_result


def test_a_margin_is_no_part_of_what_is_trained(tmp_path):
    (tmp_path / "map.toml").write_text("margin = 2\n")
    settings = load_settings(tmp_path / "map.toml", {})
    assert settings.margin == 2
    assert "--margin 2" in settings.command()
    assert settings.request() == load_settings(None, {}).request()
    assert load_settings(tmp_path / "map.toml", {"margin": "0.5"}).margin == 0.5


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "51", "a lot", ""])
def test_a_margin_that_is_none_is_refused(wrong):
    for read in (read_margin, lambda value: MapSettings(margin=value)):
        with pytest.raises(LrscopeError, match=r"^margin: "):
            read(wrong)


def test_a_wider_margin_recommends_no_fewer_learning_rates():
    result = fake_result(lrs=16, epochs=10, average=False, features=False)
    narrow, wide = (find_map(result, margin).recommended for margin in (None, 20.0))
    assert (narrow.margin, wide.margin) == (0.3, 20.0)
    assert wide.low is not None
    assert wide.high is not None
    assert narrow.low is not None
    assert narrow.high is not None
    assert wide.low <= narrow.low <= narrow.high <= wide.high
    assert (wide.low, wide.high) != (narrow.low, narrow.high)


@pytest.mark.slow
def test_show_and_report_take_a_margin(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "map"
    save_result(fake_result(lrs=8, epochs=10, average=False, features=False), folder)
    for words in (["show", str(folder), "--margin", "7"], ["report", str(folder), "--margin", "7"]):
        monkeypatch.setattr("sys.argv", ["lrscope", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code in (0, None)
    assert "within 7 points" in capsys.readouterr().out
    assert "within 7 points" in (folder / "report.html").read_text()
