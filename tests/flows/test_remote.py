"""`dvc push` and `pull` against a folder and an S3 API; after a broken push `verify --remote` says what is missing."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.flows.conftest import UNDERSTUDY
from tests.flows.stored import Stored

SECRET = "canary-secret-of-the-test"
BREAK = """
import json, os, random, boto3
client, name = boto3.client("s3", endpoint_url=os.environ["S3"]), os.environ["BUCKET"]
places = sorted(entry["Key"] for entry in client.list_objects_v2(Bucket=name)["Contents"])
plain = [place for place in places if not place.endswith(".dir")]
gone, cut, flipped, parts = random.Random(1).sample(plain, 4)
read = {p: client.get_object(Bucket=name, Key=p)["Body"].read() for p in (cut, flipped, parts)}
flip = lambda content: bytes([content[0] ^ 1]) + content[1:]
client.delete_object(Bucket=name, Key=gone)
client.put_object(Bucket=name, Key=cut, Body=read[cut][:-1])
client.put_object(Bucket=name, Key=flipped, Body=flip(read[flipped]))
upload = {"Bucket": name, "Key": parts, "UploadId": client.create_multipart_upload(Bucket=name, Key=parts)["UploadId"]}
etag = client.upload_part(**upload, PartNumber=1, Body=flip(read[parts]))["ETag"]
client.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
print(json.dumps([p.removeprefix("deep/place/files/md5/") for p in (gone, cut, flipped, parts)]))
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """The project after its run. Copy it before you change it."""
    return Stored.make(tmp_path_factory.mktemp("remote") / "project")


@pytest.fixture
def stored(made: Stored, tmp_path: Path) -> Stored:
    """A copy with a folder as its default remote."""
    copy = made.again(tmp_path / "project")
    copy.good("dvc", "remote", "add", "-d", "disk", str(tmp_path / "remote"))
    return copy


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """An S3 API on loopback, in a process of its own: boto's warnings stay out of this one."""
    port = free_port()
    server = subprocess.Popen(
        [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/moto-api/", timeout=5).close()
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    yield address
    server.terminate()
    assert server.wait(timeout=30) is not None


@pytest.fixture
def in_s3(made: Stored, s3: str, tmp_path: Path) -> Stored:
    """A copy whose default remote is a bucket of its own."""
    copy = made.again(tmp_path / "project")
    copy.env |= {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    copy.env |= {"S3": s3, "BUCKET": f"b{random.SystemRandom().randrange(10**9)}"}
    urllib.request.urlopen(urllib.request.Request(f"{s3}/{copy.env['BUCKET']}", method="PUT"), timeout=30).close()
    copy.good("dvc", "remote", "add", "-d", "cloud", f"s3://{copy.env['BUCKET']}/deep/place")
    copy.good("dvc", "remote", "modify", "cloud", "endpointurl", s3)
    return copy


def _objects(folder: Path) -> list[Path]:
    return sorted(p for p in (folder / "files/md5").rglob("*") if p.is_file())


def _said(done: subprocess.CompletedProcess[str]) -> dict[str, set[str]]:
    """The objects called MISSING and DAMAGED, as `ab/cdef...`."""
    return {
        word: set(
            re.findall(rf"^{word}  \S*files/md5/(\w\w/[0-9a-f]{{30}}(?:\.dir)?)", done.stdout, flags=re.MULTILINE)
        )
        for word in ("MISSING", "DAMAGED")
    }


def _fresh_clone(project: Stored, folder: Path) -> Stored:
    """What git would bring: code and dvc.lock, DVC's settings, no data and no cache."""
    clone = project.again(folder)
    for name in ("data", ".dvc/cache", ".dvc/tmp", ".work"):
        shutil.rmtree(folder / name, ignore_errors=True)
    clone.env |= {name: value for name, value in project.env.items() if name.startswith("AWS")}
    return clone


def test_push_and_pull_through_a_folder_restore_every_byte(stored: Stored, tmp_path: Path) -> None:
    """A fresh clone pulls a byte-identical workspace, and both sides verify."""
    stored.good("dvc", "push")
    assert "nothing is missing" in stored.good(UNDERSTUDY, "verify", "--remote")
    clone = _fresh_clone(stored, tmp_path / "clone")
    # The clone has neither cache nor data: the remote alone tells what is inside a folder.
    assert "nothing is missing" in clone.good(UNDERSTUDY, "verify", "--remote", "disk")
    clone.good("dvc", "pull")
    assert clone.contents() == stored.contents()
    assert "all of them as recorded" in clone.good(UNDERSTUDY, "verify")


def test_what_is_gone_or_damaged_in_a_folder_is_listed_exactly(stored: Stored, tmp_path: Path) -> None:
    """3 deleted, 2 cut, 1 flipped, one of them a folder's listing: exactly these; push as it says mends them."""
    stored.good("dvc", "push")
    objects = _objects(tmp_path / "remote")
    listings = [p for p in objects if p.suffix == ".dir"]
    chosen = random.Random(0).sample([p for p in objects if p not in listings], 5) + listings[:1]
    gone, cut, flipped = chosen[:3], chosen[3:5], chosen[5]
    for path in gone:
        path.unlink()
    for path in [*cut, flipped]:
        content = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(content[:-1] if path in cut else bytes([content[0] ^ 1]) + content[1:])
    done = stored.run(UNDERSTUDY, "verify", "--remote")
    assert done.returncode == 5, done.stdout + done.stderr
    name = {p: f"{p.parent.name}/{p.name}" for p in chosen}
    assert _said(done) == {"MISSING": {name[p] for p in gone}, "DAMAGED": {name[p] for p in [*cut, flipped]}}
    assert "stage a, output data/things/a" in done.stdout
    # The objects it says to delete, and no others: DVC would skip the files of a folder whose listing is there.
    for place in re.findall(r"^     (/\S+)$", done.stdout, flags=re.MULTILINE):
        Path(place).unlink()
    stored.good("dvc", "push")
    assert "nothing is missing" in stored.good(UNDERSTUDY, "verify", "--remote")


def test_a_killed_push_is_listed_exactly(stored: Stored, tmp_path: Path) -> None:
    """kill -9 in the middle of `dvc push`: what is not in the remote afterwards is what verify lists."""
    remote = tmp_path / "remote"
    process = stored.start("dvc", "push", "-j", "1")
    while process.poll() is None and not _objects(remote):
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    there = {f"{p.parent.name}/{p.name}" for p in _objects(remote)}
    wanted = {f"{p.parent.name}/{p.name}" for p in _objects(stored.folder / ".dvc/cache")}
    done = stored.run(UNDERSTUDY, "verify", "--remote")
    assert wanted - there, "the push was done before it was killed"
    assert done.returncode == 5, done.stdout + done.stderr
    assert _said(done) == {"MISSING": wanted - there, "DAMAGED": set()}
    stored.good("dvc", "push")
    stored.good(UNDERSTUDY, "verify", "--remote")


def test_push_pull_and_a_broken_push_through_s3(in_s3: Stored, tmp_path: Path) -> None:
    """The same through S3: a fresh clone is byte-identical; deleted, cut and flipped objects are listed."""
    in_s3.good("dvc", "push")
    done = in_s3.run(UNDERSTUDY, "verify", "--remote")
    assert "remote cloud (s3)" in done.stdout
    assert "nothing is missing" in done.stdout
    clone = _fresh_clone(in_s3, tmp_path / "clone")
    clone.good("dvc", "pull")
    assert clone.contents() == in_s3.contents()

    gone, cut, flipped, parts = json.loads(in_s3.good("python", "-W", "ignore", "-c", BREAK))
    done = in_s3.run(UNDERSTUDY, "verify", "--remote")
    assert done.returncode == 5, done.stdout + done.stderr
    assert _said(done) == {"MISSING": {gone}, "DAMAGED": {cut, flipped}}
    # The ETag of an upload in parts is no md5, and a flip keeps the size: the summary owns up, --deep reads it.
    assert "1 of them compared by name and size only" in done.stdout
    done = in_s3.run(UNDERSTUDY, "verify", "--remote", "--deep")
    assert _said(done) == {"MISSING": {gone}, "DAMAGED": {cut, flipped, parts}}
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--remote", "clowd"], r"no_remote\].*clowd.*known: disk"),
        (["disk"], r"no_remote_asked\].*\n  fix: add --remote"),
    ],
)
def test_a_wrong_name_is_said(stored: Stored, arguments: list[str], words: str) -> None:
    """An unknown remote, or a name without --remote, is a user's error with its fix."""
    done = stored.run(UNDERSTUDY, "verify", *arguments)
    assert done.returncode == 2
    assert re.search(words, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_a_remote_that_does_not_let_us_in_is_named(in_s3: Stored) -> None:
    """A bucket that is not there: exit 2 with the remote's name, no traceback, no secret."""
    in_s3.good("dvc", "remote", "modify", "cloud", "url", "s3://no-such-bucket-at-all/x")
    done = in_s3.run(UNDERSTUDY, "verify", "--remote")
    assert done.returncode in {2, 5}, done.stdout + done.stderr
    assert "cloud" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
