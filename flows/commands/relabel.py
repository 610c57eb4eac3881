"""`understudy relabel`: label new pool images with the net there is."""

from flows.commands.terminal import leave


def relabel() -> None:
    """Label new pool images with the champion there is and refresh its round's labels. Trains nothing; for cron too.

    Nothing new: ends within seconds and changes nothing. Exit 75 where another run is at work.
    """

    def action() -> int:
        from flows.pipeline.repro import Outcome, repro, warm_up

        warm_up()

        import asyncio
        from pathlib import Path

        from flows.pipeline.alone import alone
        from flows.pipeline.ready import refuse_unready
        from flows.refresh import refresh
        from tasks.params import load

        def say(line: str) -> None:
            print(line, flush=True)

        async def work(stage: str) -> Outcome:
            say(stage)
            return await repro(stage, Path.cwd(), say)

        settings = load()
        refuse_unready(settings)
        with alone("relabel"):
            done = asyncio.run(refresh(Path.cwd(), settings, work, say))
        say(done.message)
        return done.exit_code

    leave(action)
