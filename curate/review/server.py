"""The requests of a review: rows out, labels in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from aiohttp import web

from curate.errors import UsageError
from curate.review.label_events import Label, Labels
from curate.review.local_page import LocalPage, body_of, serve_page
from curate.review.people_agreement import agreement
from curate.review.review_queue import Queue, ReviewItem, run_says, verdict_of

_MOST_NAME = 40


class Review:
    """The handlers of one review."""

    def __init__(self, queue: Queue, labels: Labels) -> None:
        """Serve `queue` and keep what is said in `labels`."""
        self.queue, self.labels = queue, labels
        self._said_by_run = {
            name: run_says(item, queue.judge) for name, item in queue.items.items()
        }

    def routes(self) -> Iterator[web.RouteDef]:
        """Yield what the page's script asks for."""
        yield web.get("/next", self._next)
        yield web.post("/label", self._label)
        yield web.post("/undo", self._undo)
        yield web.get("/export", self._export)

    async def _next(self, request: web.Request) -> web.StreamResponse:
        skipped = request.query.get("skipped", "").split(",")
        return web.json_response(self._state(_name(request.query.get("who")), skipped))

    async def _label(self, request: web.Request) -> web.StreamResponse:
        given = await body_of(request)
        who = _name(given.get("who"))
        label = self.queue.checked(given, who)
        self.labels.add(label, _nonce(given))
        return web.json_response(self._state(who, _skipped(given), self.queue.items[label.item]))

    async def _undo(self, request: web.Request) -> web.StreamResponse:
        given = await body_of(request)
        who = _name(given.get("who"))
        item = given.get("item")
        if item not in self.queue.items:
            raise UsageError(f"no row {item!r:.50} is in this review")
        self.labels.add(self.queue.checked({"item": item}, who), _nonce(given))
        state = self._state(who, _skipped(given))
        # What was taken back is asked again at once.
        state["item"] = self.queue.payload(who, self.queue.items[item])
        return web.json_response(state)

    async def _export(self, _: web.Request) -> web.StreamResponse:
        lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in self.labels.decisions())
        headers = {"Content-Disposition": 'attachment; filename="decisions.jsonl"'}
        return web.Response(text="".join(lines), content_type="application/jsonl", headers=headers)

    def _state(
        self, who: str, skipped: list[str], answered: ReviewItem | None = None
    ) -> dict[str, Any]:
        """Return the next row for a person, how far they are, and how far people agree.

        What the run and others said of a row is told when the person has answered it.
        """
        labels = [one for one in self.labels.last() if self.queue.holds(one)]
        found = self.queue.next_for(who, labels, skipped)
        latest = self.labels.latest_of(who)
        return {
            "item": None if found is None else self.queue.payload(who, found),
            "done": sum(one.who == who for one in labels),
            "rows": len(self.queue.items),
            "of": self.queue.total,
            "judge": self.queue.judge,
            "undo": latest.item if latest and latest.item in self.queue.items else None,
            "told": None if answered is None else self._told(who, answered, labels),
            "agreement": agreement(labels, self._said_by_run)._asdict(),
        }

    def _told(self, who: str, item: ReviewItem, labels: Iterable[Label]) -> dict[str, Any]:
        """Return what the run and others said of a row; ranks in the order that `who` saw."""

        def value(one: Label) -> Any:
            ranks = one.decision == "ranks" and one.value is not None
            return self.queue.as_seen(who, item.row, one.value or "") if ranks else one.value

        own = [one for one in labels if one.item == item.row.id]
        others = [
            {"who": one.who, "decision": one.decision, "value": value(one)}
            for one in own
            if one.who != who
        ]
        told: dict[str, Any] = {"run": verdict_of(item), "others": others}
        of_run = self._said_by_run[item.row.id].get("ranks")
        if of_run is not None and any(one.who == who and one.decision == "ranks" for one in own):
            told["ranks"] = self.queue.as_seen(who, item.row, str(of_run))
        return told


def _name(given: Any) -> str:
    """Return an annotator's name as files of decisions have it."""
    name = given.strip() if isinstance(given, str) else ""
    if not name or len(name) > _MOST_NAME or not name.isprintable():
        raise UsageError(f"a name is a printable text of up to {_MOST_NAME} letters")
    return name


def _nonce(given: dict[str, Any]) -> str:
    nonce = given.get("nonce")
    if not isinstance(nonce, str) or not 8 <= len(nonce) <= 64:
        raise UsageError("a label has a nonce of 8 to 64 characters, by which it is known again")
    return nonce


def _skipped(given: dict[str, Any]) -> list[str]:
    skipped = given.get("skipped")
    return [str(one) for one in skipped] if isinstance(skipped, list) else []


def serve(
    queue: Queue, labels: Labels, port: int, tell: Callable[[str], None], *, guarded: bool = True
) -> None:
    """Serve a review until Ctrl-C; `tell` gets the address to open.

    Raises:
        UsageError: the port is taken.
    """
    routes = Review(queue, labels).routes()
    serve_page(LocalPage("review", routes, labels, guarded=guarded), port, tell)
