"""A suspended run goes on once its answer stands in the ledger, written by `understudy approve` or come with git pull.

Over plain HTTP: the server needs a POST, and a command that writes one row needs no Prefect.
"""

import asyncio
import json
import os
import urllib.request
from typing import Any

from flows.serving import access, server
from tasks import approvals, files
from tasks.approvals import Answer
from tasks.errors import UserError

LOOK = 15.0  # seconds between looks into the ledger
ASKS = {"flow_runs": {"state": {"name": {"any_": ["Suspended"]}}}, "flows": {"name": {"any_": ["self-training"]}}}


def about(round_: str, student: str) -> str:
    """How the key begins under which a run waits for a word about this very net."""
    return f"{round_}-{student[:16]}-"


def resume_decided(api: str) -> list[str]:
    """Resume the runs that wait for a word which was said; their names. Where no server answers, none."""
    said = approvals.read(files.APPROVALS)
    try:
        runs = _post(api, "flow_runs/filter", ASKS) if said else []
        return [run["name"] for run in runs if (answer := _answer(run, said)) and _resume(api, run["id"], answer)]
    except OSError:
        return []


async def keep_resuming(api: str) -> None:
    """Look again and again."""
    while True:
        try:
            for name in await asyncio.to_thread(resume_decided, api):
                print(f"the run {name} goes on: its answer stands in {files.APPROVALS}", flush=True)
        except UserError as error:  # somebody's hand was in the ledger; the next run says it too
            print(f"warning: {error}", flush=True)
        await asyncio.sleep(LOOK)


def _answer(run: dict[str, Any], said: list[Answer]) -> Answer | None:
    """The last word about what a run waits for."""
    key = run["state"]["state_details"].get("pause_key") or ""
    return next((one for one in reversed(said) if key.startswith(about(one.round, one.student))), None)


def _resume(api: str, run: str, answer: Answer) -> bool:
    """Answer the form with what the ledger says; whether the server took it."""
    threshold = float(answer.threshold) if answer.threshold else None
    filled = {"decision": answer.action, "who": answer.who, "why": answer.why, "threshold": threshold}
    return bool(_post(api, f"flow_runs/{run}/resume", {"run_input": filled})["status"] == "ACCEPT")


def _post(api: str, path: str, body: dict[str, Any]) -> Any:
    headers = {"content-type": "application/json"} | access.header(os.environ.get("PREFECT_API_AUTH_STRING", ""))
    request = urllib.request.Request(f"{api.rstrip('/')}/{path}", json.dumps(body).encode(), headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=server.ANSWER) as response:  # noqa: S310 - the user's own address
        return json.loads(response.read())
