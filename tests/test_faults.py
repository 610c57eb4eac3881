"""Real processes, really killed: work goes on and the bytes come out the same (contracts C3, C4, bars B1, B2, B11)."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import files
from tests.conftest import Project


def _hashes(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): files.sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def _kill_when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> bool:
    """SIGKILL a process group once `ready`; False if it ended before."""
    while not ready():
        if process.poll() is not None:
            process.communicate()
            return False
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


@pytest.mark.parametrize(
    ("stage", "artefact", "progress"),
    [
        (("label", "r1"), "data/probs/r1", "predictions/*/chunk-*.parquet"),
        (("curate", "r1"), "data/labels/r1", "out/0"),
        (("curate", "r1"), "data/labels/r1", "out/0/labels.parquet"),
        (("student", "r1"), "data/models/r1", "resume/*/step-*.safetensors"),
    ],
)
def test_killed_and_run_again_gives_the_same_bytes(
    project: Project, stage: tuple[str, str], artefact: str, progress: str
) -> None:
    """kill -9 in the middle, the same command again: it goes on where it was and ends byte-identical."""
    expected = _hashes(project.folder / artefact)
    home = project.folder / ".work" / "@".join(stage)
    resumes = progress.startswith(("resume", "predictions"))
    shutil.rmtree(home / "predictions", ignore_errors=True)  # what the finished project left, or nothing is computed
    for _ in range(3):
        before = set(home.glob(progress)) if resumes else set()

        def further(before: set[Path] = before) -> bool:
            return bool(set(home.glob(progress)) - before)

        assert _kill_when(project.start("python", "-m", "tasks", *stage), further), "it ended before it was killed"
    done = project.stage(*stage)
    assert done.returncode == 0, done.stdout + done.stderr
    if resumes:
        assert "before the interruption" in done.stdout or "continuing at step" in done.stdout
    assert _hashes(project.folder / artefact) == expected
    assert {p.name for p in home.iterdir() if p.is_dir()} <= {"predictions"}, "left-overs of the killed runs"


def test_a_damaged_checkpoint_falls_back_to_the_one_before(project: Project) -> None:
    """A flipped bit in the newest checkpoint costs steps, not the run, and is said."""
    expected = _hashes(project.folder / "data/models/r1")
    folder = project.folder / ".work/student@r1/resume"
    killed = _kill_when(
        project.start("python", "-m", "tasks", "student", "r1"),
        lambda: len(list(folder.glob("*/step-*.safetensors"))) > 1,
    )
    assert killed
    newest = max(folder.glob("*/step-*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[-100] ^= 1
    newest.write_bytes(content)
    done = project.stage("student", "r1")
    assert f"checkpoint {newest.name} is damaged" in done.stdout
    assert _hashes(project.folder / "data/models/r1") == expected


def test_changed_settings_start_clean(project: Project) -> None:
    """Checkpoints of other settings are never mixed in."""
    folder = project.folder / ".work/student@r1/resume"
    assert _kill_when(
        project.start("python", "-m", "tasks", "student", "r1"), lambda: bool(list(folder.glob("*/step-*.safetensors")))
    )
    project.edit(lambda settings: settings["train"].update(lr=0.01))
    done = project.stage("student", "r1")
    assert done.returncode == 0, done.stderr
    assert "starting clean" in done.stdout
    assert "continuing" not in done.stdout


def test_an_input_changed_meanwhile_is_not_published(project: Project) -> None:
    """DVC hashes inputs after the command: a stage whose settings changed under it publishes nothing (exit 75)."""
    before = _hashes(project.folder / "data/models/r1")
    process = project.start("python", "-m", "tasks", "student", "r1")
    folder = project.folder / ".work/student@r1/resume"
    while not list(folder.glob("*/step-*.safetensors")):
        assert process.poll() is None
        time.sleep(0.002)
    project.edit(lambda settings: settings["train"].update(lr=0.01))
    output, _ = process.communicate()
    assert process.returncode == 75, output
    assert "train changed while student@r1 ran" in output
    assert _hashes(project.folder / "data/models/r1") == before


def test_ctrl_c_is_no_error(project: Project) -> None:
    """SIGINT ends a stage with 130 and a sentence, not with a traceback; the next run goes on from the checkpoint."""
    process = project.start("python", "-m", "tasks", "student", "r1")
    folder = project.folder / ".work/student@r1/resume"
    while not list(folder.glob("*/step-*.safetensors")):
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert "the same command continues" in output
    assert "Traceback" not in output
    assert "continuing at step" in project.stage("student", "r1").stdout


def test_twenty_at_once_one_works(project: Project) -> None:
    """Of 20 starts of one stage exactly one works; the others name the holder and leave with 75."""
    processes = [project.start("python", "-m", "tasks", "label", "r1") for _ in range(20)]
    ends = [(p.communicate()[0], p.returncode) for p in processes]
    worked = [code for _, code in ends if code == 0]
    busy = [text for text, code in ends if code == 75]
    assert (len(worked), len(busy)) == (1, 19), ends
    assert all("label@r1 is already running" in text and "pid" in text for text in busy)
    files.verify(project.folder / "data/probs/r1")


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_stage_dies_with_its_dvc(project: Project, shell: str) -> None:
    """kill -9 of `dvc repro` leaves no stage behind, and the next `dvc repro` finishes the work.

    DVC runs a stage through the user's shell; dash stays between the two where bash does not.
    """
    project.env["SHELL"] = shell
    expected = _hashes(project.folder / "data/models/r2")
    project.edit(lambda settings: settings["rounds"]["r2"]["student"].update(steps=100_000))
    dvc = project.start("dvc", "repro", "student@r2")
    folder = project.folder / ".work/student@r2"
    while not list(folder.glob("resume/*/step-*.safetensors")):
        assert dvc.poll() is None
        time.sleep(0.01)
    os.kill(dvc.pid, signal.SIGKILL)
    dvc.wait()
    pid = int((folder / "LOCK").read_text().split('"pid": ')[1].split(",")[0])
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            pytest.fail("the stage outlived its dvc")
        time.sleep(0.01)
    dvc.communicate()
    project.edit(lambda settings: settings["rounds"]["r2"]["student"].update(steps=24))
    project.repro("student@r2")
    assert _hashes(project.folder / "data/models/r2") == expected


def test_no_label_accepted_and_collapse_are_held(project: Project) -> None:
    """Exit 4 with the threshold that would accept something; the table that was there is kept."""
    before = _hashes(project.folder / "data/labels/r1")
    project.edit(lambda settings: settings["rounds"]["r1"]["curate"].update(threshold=1.0))
    done = project.stage("curate", "r1")
    assert done.returncode == 4
    assert "no_labels_accepted" in done.stderr
    assert "would keep 50%" in done.stderr
    project.edit(lambda settings: settings["rounds"]["r1"]["curate"].update(threshold=0.0, max_share=0.02))
    done = project.stage("curate", "r1")
    assert done.returncode == 4
    assert "rounds.r1.curate.max_share" in done.stderr
    assert _hashes(project.folder / "data/labels/r1") == before


def test_a_flipped_bit_in_an_input_is_named(project: Project) -> None:
    """Exit 5 names the file and how to get it back; doing so works."""
    path = next((project.folder / "data/probs/r1").glob("part-*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)
    done = project.stage("curate", "r1")
    assert done.returncode == 5
    assert "data/probs/r1/part-00000.parquet was altered" in done.stderr
    (project.folder / "data/probs/r1").rename(project.folder / ".work/damaged")
    project.repro()
    assert project.stage("curate", "r1").returncode == 0
