"""Stage `champion`: data/champion, the net to use: the champion after the last round, or the one people went back to.

Copies files and trains nothing: `understudy rollback` runs this stage alone and is done in seconds.
"""

from tasks import files, verdicts
from tasks.champions import crown, decision
from tasks.stage import Stage

PARAMS = ("rounds",)


def champion(stage: Stage) -> None:
    """data/champions and the ledger of words about champions in, data/champion out."""
    said = verdicts.by_round(verdicts.read(stage.input(files.CHAMPION_WORDS)))
    rounds = [key for key in ("r0", *stage.settings.rounds) if (files.champion(key) / files.MANIFEST).is_file()]
    taken_back = {key for key in rounds if key in said and said[key].action == "rollback"}
    last = next(key for key in reversed(rounds) if key not in taken_back)
    net = stage.input(files.champion(last))
    made = decision(last)
    if taken_back:
        made |= {"rolled_back": said[max(taken_back)].as_dict()}
    crown(stage, net, files.CHAMPION, made)
    stage.summary(champion=made["champion"], after=last)
    print(f"champion: {files.CHAMPION} is the net {made['champion']}", flush=True)
