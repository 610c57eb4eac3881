"""Somebody is told: the server POSTs to a webhook when a run fails, is held, drifts, or waits for a person.

The server itself does it, by an automation on the states of flow runs: so it also tells of runs whose process died.
"""

import os
from typing import Any
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.types import SecretDict
from pydantic import SecretStr

from tasks.params import Settings

NAME = "understudy tells somebody"
BLOCK = "understudy-alerts"
SECRET = "UNDERSTUDY_WEBHOOK"  # noqa: S105 - the variable's name
KINDS = {  # names of states: what an alert calls them
    "Failed": "failed",
    "Crashed": "failed",
    "TimedOut": "failed",
    "Held": "held",
    "Drift": "drift",
    "Suspended": "waiting",
    "TrainingDue": "training due",
}
WAITS = "waits for somebody to decide: open the run and press Resume"
PAYLOAD = """\
{%- set kinds = KINDS -%}
{%- set state = event.payload.validated_state -%}
{%- set kind = kinds[state.name] -%}
{%- set message = state.message or WAITS -%}
{"kind": {{ kind | tojson }}, "flow": {{ flow.name | tojson }}, "run": {{ flow_run.name | tojson }},
 "run_id": {{ flow_run.id | string | tojson }}, "when": {{ event.occurred | string | tojson }},
 "message": {{ message | tojson }},
 "text": {{ (flow.name ~ " " ~ flow_run.name ~ ": " ~ kind ~ ": " ~ message) | tojson }}}"""


def webhook(settings: Settings) -> str | None:
    """The address from the environment, else from params.yaml."""
    return os.environ.get(SECRET) or settings.alerts.webhook


async def renew(client: PrefectClient, address: str | None, flows: list[str]) -> None:
    """Let the server tell `address` of runs of these flows from now on; with None, nobody."""
    for old in await client.read_automations_by_name(NAME):
        await client.delete_automation(old.id)
    if address is None:
        return
    block = Webhook(url=SecretStr(address), headers=SecretDict({"Content-Type": "application/json"}))
    where = await block.save(BLOCK, overwrite=True)
    await client.create_automation(automation(where, flows))


def automation(block: UUID, flows: list[str]) -> AutomationCore:
    """One alert for each such state of each run."""
    related: Any = {"prefect.resource.role": "flow", "prefect.resource.name": flows}
    trigger = EventTrigger(
        expect={f"prefect.flow-run.{name}" for name in KINDS},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related=related,
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
    )
    told = PAYLOAD.replace("KINDS", repr(KINDS)).replace("WAITS", repr(WAITS))
    return AutomationCore(
        name=NAME,
        description="A run of understudy failed, is held, drifts, waits for a person, or a training is due.",
        trigger=trigger,
        actions=[CallWebhook(block_document_id=block, payload=told)],
    )
