"""`understudy use`: a settings file takes the place of params.yaml, whole or not at all."""

from pathlib import Path

import pytest
import yaml

from flows.use import use
from tasks.errors import UserError
from tests.conftest import ROOT


@pytest.mark.parametrize("path", sorted((ROOT / "settings").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_settings_file_fits(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one is accepted, its source replaced, its comments kept, and each round has a ledger."""
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "it's here"
    source.mkdir()
    use(path, str(source))
    text = Path("params.yaml").read_text()
    assert text.splitlines()[0] == path.read_text().splitlines()[0]
    settings = yaml.load(text, yaml.CSafeLoader)
    assert next(iter(settings["sources"].values()))["path"] == str(source)
    assert Path("data/decisions/release.csv").read_text() == "source,path,reason,label,who\n"
    assert Path("data/decisions/conflicts.csv").read_text() == "image_id,label,who,when\n"
    assert all(Path(f"data/decisions/{round_}.csv").is_file() for round_ in settings["rounds"])


def test_wrong_settings_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A settings file with a mistake, or a source that is not there, leaves params.yaml as it was."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("mine")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((ROOT / "params.yaml").read_text().replace("seed:", "sede:"))
    indented = tmp_path / "indented.yaml"  # good YAML, but not in the form whose comments we can keep
    indented.write_text((ROOT / "params.yaml").read_text().replace("    path: ", "    'path': "))
    for file, source in (
        (wrong, None),
        (indented, str(tmp_path)),
        (ROOT / "params.yaml", "nowhere"),
        (tmp_path / "none.yaml", None),
        (tmp_path, None),
    ):
        with pytest.raises(UserError):
            use(file, source)
    assert Path("params.yaml").read_text() == "mine"
