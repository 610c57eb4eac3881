"""The settings about when things run and who is told; none of them can change a result."""

from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator

from tasks.params_data import Section

FIELDS = "minute hour day-of-month month day-of-week, such as `0 2 * * *`"


class Run(Section):
    """How Prefect runs the stages; none of it can change a result."""

    retries: int = Field(ge=0, le=10, description="Further tries for a stage that was busy or was killed.")
    retry_delay: float = Field(ge=0, le=3600, description="Seconds between tries.")


class Schedule(Section):
    """When new images are looked for by themselves (`understudy serve`, docs/operations.md)."""

    cron: str | None = Field(description=f"When `relabel` runs: {FIELDS}. null = only when somebody starts it.")
    timezone: str = Field(
        description="Whose clock `cron` means, by its IANA name: `UTC`, `Europe/Berlin`. A local hour that is skipped "
        "or comes twice when the clocks change is the zone's affair; UTC has none."
    )

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str | None) -> str | None:
        if cron is None:
            return None
        try:
            CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(
                f"schedule.cron: {cron!r} is no schedule ({error}); it takes five fields: {FIELDS}"
            ) from None
        return cron

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (OSError, ValueError, KeyError):
            near = get_close_matches(zone, available_timezones(), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"schedule.timezone: {zone!r} is no time zone of the IANA list{hint}") from None
        return zone


class Relabel(Section):
    """What `understudy relabel` does beyond labeling new images with the net there is; it never trains by itself."""

    retrain: Literal["never", "ask", "grown"] = Field(
        description="When a grown pool leads to a new training. `never`: only the run says what is out of date. `ask`: "
        "people are told when the pool has grown by `grown`. `grown`: then `self-training` is started."
    )
    grown: float = Field(gt=0, description="Share of new images since the last student learnt: 0.2 is a fifth more.")
    push: bool = Field(description="`dvc push` what was made, where DVC has a default remote.")
    commit: bool = Field(description="`git commit` dvc.lock after new labels, so that others can pull them.")


class Alerts(Section):
    """Who is told when a run fails, is held, drifts or waits for approval."""

    webhook: str | None = Field(
        description="Where `understudy serve` lets the Prefect server POST JSON for each alert. null = nowhere. "
        "For an address that is a secret leave null and set UNDERSTUDY_WEBHOOK instead."
    )

    @field_validator("webhook")
    @classmethod
    def _is_an_address(cls, webhook: Any) -> Any:
        if webhook is not None and (urlsplit(webhook).scheme not in {"http", "https"} or not urlsplit(webhook).netloc):
            raise ValueError(f"alerts.webhook: {webhook!r} is no http or https address")
        return webhook
