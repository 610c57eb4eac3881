"""Which images a review shows, which of them it queues, and at which a net looks again for that."""

import pandas as pd

from tasks.params import Settings
from tasks.review import embedding_map, features, queued, rows
from tasks.review.features import Features


def choose(
    reviewed: rows.Reviewed, round_: str, settings: Settings, budget: int
) -> tuple[pd.DataFrame, list[str], Features | None]:
    """The rows to show, with their places in the queue; the ids to put on the map; features of these and more.

    The net looks at what the map shows and, where a queue is asked for, at labels that can stand in it, up to
    review.features; and at the queue itself.
    """
    worth = rows.choose(reviewed.rows, settings.review.limit)["image_id"].tolist()
    could = queued.candidates(reviewed.rows)["image_id"].tolist() if budget else []
    look = embedding_map.ids([], worth)
    look = [*look, *sorted(set(could) - set(look))][: settings.review.features]
    seen = features.look(look, round_, settings)
    queue = queued.enqueue(reviewed, round_, settings, budget, seen) if budget and could else queued.NOTHING
    all_rows = reviewed.rows.merge(queue, on="image_id", how="left")
    shown = all_rows[all_rows["image_id"].isin({*worth, *queue["image_id"]})].reset_index(drop=True)
    on_map = embedding_map.ids(queue["image_id"].tolist(), shown["image_id"].tolist())
    if seen is not None and not set(on_map) <= set(seen.ids):
        seen = features.look([*look, *queue["image_id"]], round_, settings)
    return shown, on_map, seen
