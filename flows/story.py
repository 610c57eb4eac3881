"""What a run leaves on its page in Prefect: progress of long stages, tables, pictures and the way to the report."""

import asyncio
import os
import re
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import (
    acreate_image_artifact,
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.exceptions import PrefectException

from flows import pictures, results
from flows.serving import reports, server

LINE = re.compile(r"^(?P<what>\S+): (?P<done>[\d,]+) of (?P<total>[\d,]+) (?P<unit>\S+)")  # of tasks.progress
PICTURES = {
    "confusion": "What the last student said of each class of the sealed test.",
    "reliability": "Is the last student as right as it is sure? On the dashed line it is.",
    "label-flow": "How the pool's labels moved from round to round; grey below: not learnt from.",
}


class Progress:
    """The progress bar of one stage: made when the stage first says how far it is, and sent as fast as it is taken."""

    def __init__(self, stage: str) -> None:
        self.key = key(f"progress-{stage}")
        self.percent = 0.0
        self._id: UUID | None = None
        self._sending: asyncio.Task[None] | None = None

    def line(self, text: str) -> None:
        """A line of the stage's output; most say nothing of progress."""
        if not (found := LINE.match(text)):
            return
        done, total = (int(found[name].replace(",", "")) for name in ("done", "total"))
        self.percent = 100.0 * done / total if total else 0.0
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send(text))

    async def end(self, whole: bool) -> None:
        """The stage is through, or stopped where it was."""
        if self._sending:
            await self._sending
            self.percent = 100.0 if whole else self.percent
            await self._send("")

    async def _send(self, text: str) -> None:
        with suppress(HTTPError, PrefectException):  # a bar that nobody can see stops no work
            if self._id is None:
                self._id = await acreate_progress_artifact(self.percent, key=self.key, description=text)
            else:
                await aupdate_progress_artifact(self._id, self.percent, description=text or None)


async def tell(root: Path, name: str = reports.CURRENT) -> None:
    """Tables, pictures and the report of a finished run; `name` is the report's in flows.serving.reports."""
    for table, rows in results.tables(root).items():
        await acreate_table_artifact(rows, key=table, description=results.TITLES[table])
    for picture, uri in pictures.pictures(root, results.rounds(root)).items():
        await acreate_image_artifact(uri, key=picture, description=PICTURES[picture])
    if markdown := results.report_in_words(root):
        await acreate_markdown_artifact(markdown, key="report", description="The report of this run")
        if link := _address(name):
            await acreate_link_artifact(link, "The report", key="report-link", description="It asks for the token.")


def _address(name: str) -> str:
    """Where the server shows this project's report; empty when it is another project's server, or none of ours."""
    api = os.environ.get("PREFECT_API_URL", "")
    ours = server.address(Path(os.environ.get("PREFECT_HOME", "")))
    return f"{server.pages_of(api)}{reports.PREFIX}{name}" if api and api == ours else ""


def key(text: str) -> str:
    """As Prefect wants the names of artifacts."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
