"""Schedules and addresses are refused before anything waits for a time that never comes."""

import pytest
from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from tasks.params import Alerts, Schedule


@pytest.mark.parametrize("cron", ["0 2 * * *", "*/15 8-18 * * 1-5", "30 6 1 jan,jul *"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
def test_what_is_accepted_is_accepted_by_prefect_too(cron: str, zone: str) -> None:
    """Both read the same five fields."""
    schedule = Schedule(cron=cron, timezone=zone)
    assert CronSchedule(cron=str(schedule.cron), timezone=schedule.timezone).cron == cron


@pytest.mark.parametrize(
    ("cron", "zone", "said"),
    [
        ("0 25 * * *", "UTC", r"schedule\.cron: '0 25 \* \* \*' is no schedule .* five fields"),
        ("at two", "UTC", "is no schedule"),
        ("0 2 * *", "UTC", "is no schedule"),
        ("0 2 * * *", "Europe/Berln", "did you mean Europe/Berlin"),
        ("0 2 * * *", "../etc/passwd", "no time zone"),
        ("0 2 * * *", "", "no time zone"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(cron: str, zone: str, said: str) -> None:
    """With what is wrong and what would be right."""
    with pytest.raises(ValidationError, match=said):
        Schedule(cron=cron, timezone=zone)


@pytest.mark.parametrize("address", ["hooks.example.com", "ftp://x", "http://"])
def test_an_alert_goes_to_a_web_address(address: str) -> None:
    """http or https with a host."""
    with pytest.raises(ValidationError, match="no http or https address"):
        Alerts(webhook=address)
    assert Alerts(webhook="https://hooks.example.com/x").webhook
