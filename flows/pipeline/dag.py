"""What DVC says there is to do.

Only this module, its neighbour forkserver and flows.versions.storage import dvc, which is no public interface.
"""

from pathlib import Path

from tasks.errors import UserError

Dag = list[tuple[str, list[str]]]


def stages(root: Path) -> Dag:
    """Every stage of dvc.yaml with the stages it has to wait for, in an order in which they can run.

    What follows from another edge is left out: report waits for evaluate, and needs not say that it waits for ingest.
    Raises UserError when `root` is no DVC project or dvc.yaml is wrong.
    """
    import networkx as nx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

    try:
        with Repo(str(root)) as repo:
            graph = nx.transitive_reduction(repo.index.graph)  # edges point to what a stage needs
            ordered = list(nx.dfs_postorder_nodes(graph))
    except DvcException as error:
        raise UserError(
            "bad_pipeline", f"DVC cannot read {root / 'dvc.yaml'}: {error}", "`dvc repro --dry` shows the same"
        ) from None
    # `name`, not `addressing`: the latter depends on the working directory.
    return [
        (stage.name, sorted(s.name for s in graph.successors(stage) if isinstance(s, PipelineStage)))
        for stage in ordered
        if isinstance(stage, PipelineStage)
    ]


def needed_for(dag: Dag, stage: str) -> Dag:
    """The part of the graph that `stage` stands on, with itself; UserError when there is no such stage."""
    upstream = dict(dag)
    if stage not in upstream:
        raise UserError("unknown_stage", f"there is no stage {stage!r}", f"choose one of {', '.join(sorted(upstream))}")
    wanted: set[str] = set()
    waiting = [stage]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += upstream[name]
    return [(name, needs) for name, needs in dag if name in wanted]
