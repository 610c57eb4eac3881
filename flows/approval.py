"""A run waits for a person: it is suspended, no process is left, and the answer brings it back from the top.

What was measured, the audit card and the form are on the run's page. The answer becomes a row in git, as with
`understudy approve`; DVC then finds nothing changed but the gate, so that nothing is trained a second time. A suspended
run has no end date. An answer that cannot be is asked again.
"""

from itertools import count
from typing import Any, Literal

from prefect import get_run_logger
from prefect.artifacts import acreate_markdown_artifact
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field, ValidationError

from flows import audit
from flows.approve import approve
from flows.serving import resume
from tasks import approvals
from tasks.errors import UserError
from tasks.params import Settings, load


class Approval(RunInput):
    """What is to become of the student?"""

    decision: Literal["promote", "hold"] = Field(description="`promote`: it becomes champion. `hold`: it does not.")
    who: str = Field(min_length=1, description="Your name, for the ledger.")
    why: str = Field(min_length=1, description="The reason, for the ledger.")
    threshold: float | None = Field(
        default=None, ge=0, le=1, description="Another curate.threshold for the labels made next; empty: as it is."
    )


def asked(settings: Settings) -> list[str]:
    """The rounds whose students wait, where this run can be suspended: only a deployment's run can."""
    from prefect.runtime import deployment

    return [key for key in settings.rounds if approvals.waiting(key)] if deployment.id else []


async def decide(round_: str) -> None:
    """Suspend the run until somebody decided about the student of a round; afterwards the row is in the ledger.

    The first time this does not return: the process ends. It runs again when there is an answer.
    """
    note = approvals.waiting(round_)
    assert note is not None
    card, problem = describe(load(), round_, note), ""
    await acreate_markdown_artifact(card, key=f"approval-{round_}", description="What there is to decide")
    for attempt in count():
        form = Approval.with_initial_data(description=problem + card)
        try:
            said = await asuspend_flow_run(wait_for_input=form, key=f"{resume.about(round_, note['student'])}{attempt}")
            lines = approve(load(), round_, said.decision, said.threshold, said.who, said.why)
        except (UserError, ValidationError) as error:
            why = f"{error.what}; {error.fix}" if isinstance(error, UserError) else str(error)
            problem = f"**Not possible: {why}**\n\n"
            get_run_logger().warning("asked again: %s", why)
        else:
            get_run_logger().info("%s: %s by %s: %s", round_, said.decision, said.who, said.why)
            get_run_logger().info("\n".join(lines))
            return


def describe(settings: Settings, round_: str, note: dict[str, Any]) -> str:
    """Markdown: what the gate measured, and the audit card of the labels that the student learnt from."""
    rows = [f"# Shall the student of {round_} become champion?", "", f"Champion now: {note['before']}.", ""]
    if note["verdict"] == "not_measured":
        rows += ["The gate has no images (`split.gate`): whether it is better was **not measured**."]
    else:
        d = note["accuracy"]
        rows += [
            "| on the gate's images | |",
            "|---|---|",
            f"| verdict | {note['verdict'].replace('_', ' ')} ({', '.join(note['rules'])}) |",
            f"| accuracy, student minus champion | {100 * d['difference']:+.2f} points |",
            f"| at least, at most (one-sided 95 %) | {100 * d['low']:+.2f}, {100 * d['high']:+.2f} |",
            f"| only the student right, only the champion | {d['gained']}, {d['lost']} of {note['n']} |",
            f"| smallest loss these images show | {100 * note['resolution']:.1f} points |",
        ]
    card = audit.show(settings, round_)
    rows += ["", "## The labels it learnt from", "", *(f"- {line.strip()}" for line in audit.lines(card))]
    if classes := audit.class_rows(card):
        head = list(classes[0])
        rows += ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        rows += [f"| {' | '.join(str(row[name]) for name in head)} |" for row in classes]
    rows += ["", f"The terminal's way: `understudy approve {round_} --promote --why …`. Run: {flow_run.get_name()}."]
    return "\n".join(rows)
