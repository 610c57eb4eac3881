"""`understudy rollback`: go back to an earlier champion. One row for the ledger, one stage for DVC, a few seconds."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from flows.pipeline.repro import repro
from tasks import files, ledger, verdicts
from tasks.errors import UserError
from tasks.params import Settings
from tasks.verdicts import Word


def rollback(settings: Settings, round_: str | None, who: str, why: str) -> list[str]:
    """Go back to the champion after `round_`, or to the one before the present one; what was done, in lines.

    UserError, with everything as it was, for a round that is none, or whose student never was champion.
    """
    if not why.strip():
        raise UserError("no_reason", "a rollback needs a reason", 'add --why "..."')
    rounds = [key for key in ("r0", *settings.rounds) if (files.champion(key) / files.MANIFEST).is_file()]
    if not rounds:
        raise UserError("nothing_yet", "there is no champion yet", "`understudy run` makes one")
    net_of = {key: _net(files.champion(key)) for key in rounds}
    words = verdicts.read(files.CHAMPION_WORDS)
    taken_back = {key for key, word in verdicts.by_round(words).items() if word.action == "rollback"}
    now = next(net_of[key] for key in reversed(rounds) if key not in taken_back)
    target = _before(now, net_of) if round_ is None else round_
    _refuse_no_champion(target, now, net_of, taken_back)
    files.verify(files.champion(target))
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    word = Word("rollback", target, rounds[-1], ledger.name(who), when, why.strip())
    verdicts.append(files.CHAMPION_WORDS, word)
    return [*_deploy(target, now), *_what_follows(word)]


def _net(folder: Path) -> str:
    key: str = files.read_json(folder / "card.json")["key"]
    return key


def _before(now: str, net_of: dict[str, str]) -> str:
    """The champion that the present one took the place of."""
    nets = list(dict.fromkeys(net_of.values()))
    if now not in nets[1:]:
        raise UserError("first_champion", f"{now} is the first champion; there is none before it", "train another one")
    return nets[nets.index(now) - 1]


def _refuse_no_champion(target: str, now: str, net_of: dict[str, str], taken_back: set[str]) -> None:
    champions = ", ".join(dict.fromkeys(net_of.values()))
    if target not in net_of:
        raise UserError("unknown_round", f"there is no round {target!r} with a champion", f"choose one of {champions}")
    if net_of[target] != target and target not in taken_back:
        what = f"the student of {target} was held and never was champion; after {target} it was {net_of[target]}"
        raise UserError("never_champion", what, f"choose one of {champions}")
    if target == now:
        raise UserError("already_champion", f"{target} is the champion", f"choose one of {champions}")


def _deploy(target: str, now: str) -> list[str]:
    done = asyncio.run(repro("champion", Path.cwd(), lambda _line: None))
    if done.exit_code:
        what = f"{files.CHAMPION_WORDS} has the row, but the stage `champion` failed: {done.message}"
        raise UserError("not_deployed", what, "mend that, then `dvc repro -s champion`")
    return [f"{files.CHAMPION} is now the net {_net(files.CHAMPION)}; it was {now}" + _lifted(target)]


def _lifted(target: str) -> str:
    deployed = _net(files.CHAMPION)
    return "" if deployed == target else f". {target} is judged again by the next `dvc repro`, which restores it"


def _what_follows(word: Word) -> list[str]:
    held = [f"r{k}" for k in range(int(word.round[1:]) + 1, int(word.over[1:]) + 1)]
    lines = [f"the next `dvc repro` holds {', '.join(held)}: later rounds are labeled by {word.round}"] if held else []
    return [*lines, f"keep the row: git add {files.CHAMPION_WORDS} dvc.lock && git commit"]
