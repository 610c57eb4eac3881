"""compose.yaml and the Dockerfile, as far as a machine without a container engine can tell."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import jsonschema
import pytest
import yaml
from typer.main import get_command

from flows.cli import app
from tests.conftest import ROOT

TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.load(TEXT, yaml.CSafeLoader)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "understudy"}


def test_it_is_a_compose_file() -> None:
    """By the schema that docker-compose 1.29.2 ships (tests/compose_spec.json, Apache-2.0); which can say no."""
    schema = json.loads((ROOT / "tests/compose_spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)
    wrong = COMPOSE | {"services": SERVICES | {"worker": SERVICES["worker"] | {"comand": []}}}
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        jsonschema.Draft7Validator(schema).validate(wrong)


def test_nothing_is_published_beyond_this_host_and_no_secret_stands_in_it() -> None:
    """Ports are on loopback; passwords and tokens come from the environment, and without one nothing starts."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) >= 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET_ACCESS|AUTH_STRING|CONNECTION_URL", key):
                assert re.search(r"\$\{[A-Z_]+(:\?[^}]+)?\}", value), f"{name}: {key}"
    asked = {name for name, said in re.findall(r"\$\{([A-Z_]+)(:\?)?", TEXT) if said}
    used = set(re.findall(r"\$\{([A-Z_]+)", TEXT)) - {"PROJECT_UID", "PROJECT_GID", "UNDERSTUDY_WEBHOOK"}
    assert asked == used


def test_what_services_wait_for_and_keep_exists() -> None:
    """depends_on names services, those waited for as healthy have a health check, named volumes are declared."""
    for service in SERVICES.values():
        needs = service.get("depends_on", {})
        for other in needs:
            assert other in SERVICES
            if isinstance(needs, dict) and needs[other]["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source == "." or source in COMPOSE["volumes"]


def test_the_commands_are_commands_of_ours() -> None:
    """`understudy …` parses with its options, `python -m …` is a module, `python -c …` is Python."""
    seen = set()
    for service in OURS.values():
        program, *rest = service["command"]
        if program == "understudy":
            command: Any = get_command(app)
            command.commands[rest[0]].make_context(rest[0], rest[1:])
        elif rest[0] == "-m":
            assert find_spec(rest[1])
        else:
            compile(rest[1], "compose.yaml", "exec")
        seen.add((program, rest[0]))
    assert seen == {("understudy", "ui"), ("python", "-m"), ("python", "-c")}
    compile(SERVICES["server"]["healthcheck"]["test"][-1], "compose.yaml", "exec")


def test_the_bucket_is_made_once() -> None:
    """The command of `bucket` against a server that speaks S3: twice is no error, and the bucket is there."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        env = {**os.environ, **{key: str(value) for key, value in SERVICES["bucket"]["environment"].items()}}
        env |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        program = SERVICES["bucket"]["command"][2]
        listed = "print(*[found['Name'] for found in s3.list_buckets()['Buckets']])"
        code = f"{program}\n{program}\n{listed}"
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert done.stdout == "understudy\n"
    finally:
        server.stop()


def test_the_image_copies_what_is_there() -> None:
    """Every file that the Dockerfile copies exists and is let in by .dockerignore; secrets are not."""
    allowed = (ROOT / ".dockerignore").read_text().split()
    copied = [line.split()[1:-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY")]
    assert copied
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists()
        assert f"!{name}" in allowed or re.fullmatch(r"requirements.*\.lock", name)
    assert allowed[0] == "*"
