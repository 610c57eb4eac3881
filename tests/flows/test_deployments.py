"""prefect.yaml against the list of deployments, and `prefect deploy` against a real server."""

import re
import shutil
from datetime import datetime
from importlib import import_module
from zoneinfo import ZoneInfo

import yaml

from flows.serving.deployments import DEPLOYMENTS, POOL
from tests.conftest import ROOT
from tests.flows.conftest import Server

KNOWN = yaml.load((ROOT / "prefect.yaml").read_text(), yaml.CSafeLoader)


def _words(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def test_prefect_yaml_says_what_the_list_says() -> None:
    """The same deployments in the same order, with flow, description, parameters and limit."""
    listed = [
        {"name": d.name, "entrypoint": d.flow, "description": d.about}
        | ({"parameters": d.parameters} if d.parameters else {})
        | ({"concurrency_limit": {"limit": d.limit, "collision_strategy": d.collision}} if d.limit else {})
        for d in DEPLOYMENTS
    ]
    written = [{k: v for k, v in d.items() if k not in {"work_pool", "schedules"}} for d in KNOWN["deployments"]]
    for entry in written:
        entry["description"] = _words(entry["description"])
    assert written == listed
    assert {entry["work_pool"]["name"] for entry in KNOWN["deployments"]} == {POOL}


def test_every_deployment_names_a_flow() -> None:
    """The flow of that name is there, and its first line says what it does."""
    for deployment in DEPLOYMENTS:
        module, name = deployment.flow.rsplit(".", 1)
        assert getattr(import_module(module), name).name == deployment.name


def test_prefect_deploy_makes_what_serve_makes(server: Server) -> None:
    """`prefect deploy --all` on a server of one's own: every deployment, with the same form and description as from
    `understudy serve`, and the project as the folder to work in."""
    toy = server.project
    shutil.copy(ROOT / "prefect.yaml", toy.folder)
    toy.env |= server.env | {"UNDERSTUDY_PROJECT": str(toy.folder)}
    before = {d["name"]: d for d in server.post("deployments/filter", {})}
    done = toy.run("prefect", "--no-prompt", "deploy", "--all")
    (toy.folder / "prefect.yaml").unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    after = {d["name"]: d for d in server.post("deployments/filter", {})}
    assert after.keys() == before.keys() == {d.name for d in DEPLOYMENTS}
    for name, made in after.items():
        assert made["parameter_openapi_schema"] == before[name]["parameter_openapi_schema"]
        assert made["description"] == before[name]["description"]
        assert made["job_variables"]["working_dir"] == str(toy.folder)
        step = made["pull_steps"][0]["prefect.deployments.steps.set_working_directory"]
        assert step["directory"] in {str(toy.folder), "{{ $UNDERSTUDY_PROJECT }}"}


def test_a_schedule_makes_runs(server: Server) -> None:
    """A canary for the pin of sqlalchemy: with 2.1 the server takes a schedule, and its scheduler inserts no run."""
    made = server.post("deployments/filter", {"deployments": {"name": {"any_": ["relabel"]}}})[0]["id"]
    server.post(f"deployments/{made}/schedules", [{"schedule": {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}}])
    server.post(f"deployments/{made}/schedule", {"min_runs": 3, "max_runs": 3})
    wanted = {"deployments": {"id": {"any_": [made]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    runs = server.post("flow_runs/filter", wanted)
    zone = ZoneInfo("Europe/Berlin")
    assert len(runs) == 3
    assert {datetime.fromisoformat(run["expected_start_time"]).astimezone(zone).hour for run in runs} == {2}
