"""A small DVC project with sealed artefacts, a folder output and single files, run once and copied for each test."""

import shutil
from pathlib import Path

import yaml

from tests.conftest import ROOT, Project

MAKE = """
import random, sys
from pathlib import Path
from tasks import files

name = sys.argv[1]
rng = random.Random(name)
staged, target = Path(f"{name}.staged"), Path("data/things") / name
(staged / "deep").mkdir(parents=True)
for number in range(3):
    (staged / f"part-{number:05d}.bin").write_bytes(rng.randbytes(rng.randrange(1, 3000)))
(staged / "deep" / "more.bin").write_bytes(rng.randbytes(500))
files.seal(staged, {"stage": name, "inputs": {}})
files.move_into_place(staged, target)
files.replace_file(Path(f"data/metrics/{name}.json"), f'{{"n": {rng.randrange(100)}}}')
"""


class Stored(Project):
    """Two stages, `a` and `b`: the folder data/things/<name> with its commit record, and data/metrics/<name>.json."""

    @staticmethod
    def make(folder: Path) -> "Stored":
        """The project after its `dvc repro`."""
        made = Stored(folder)
        folder.mkdir(parents=True)
        made.env["PYTHONPATH"] = str(ROOT)
        (folder / "make.py").write_text(MAKE)
        stages = {
            name: {"cmd": f"python make.py {name}", "deps": ["make.py"]}
            | {"outs": [f"data/things/{name}"], "metrics": [f"data/metrics/{name}.json"]}
            for name in "ab"
        }
        (folder / "dvc.yaml").write_text(yaml.dump({"stages": stages}, Dumper=yaml.CSafeDumper))
        made.good("dvc", "init", "-q", "--no-scm")
        made.good("dvc", "repro")
        return made

    def again(self, folder: Path) -> "Stored":
        """The same project elsewhere."""
        shutil.copytree(self.folder, folder, symlinks=True)
        other = Stored(folder)
        other.env["PYTHONPATH"] = str(ROOT)
        return other

    def good(self, *command: str) -> str:
        """A command that must succeed; what it said."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def contents(self) -> dict[str, bytes]:
        """Every file below data/."""
        found = (p for p in sorted((self.folder / "data").rglob("*")) if p.is_file())
        return {p.relative_to(self.folder).as_posix(): p.read_bytes() for p in found}
