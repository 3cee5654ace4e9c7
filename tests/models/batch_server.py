"""A real HTTP server on loopback with OpenAI's Files and Batches, well-behaved or not.

`BatchServer(reply)` runs in threads of its own and keeps its files and jobs while the commands that
use it die. `reply` is given the body of a line and returns the lines of answers that it is to have:
one as a rule, none where the job is to leave it out. `states` are what a job says of itself, one
for each time it is looked up; the last one stays.
"""

from __future__ import annotations

import email.parser
import email.policy
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Line = dict[str, Any]
Reply = Callable[[Mapping[str, Any]], Sequence[Line]]
STATES = ("validating", "in_progress", "finalizing", "completed")


def chat(text: str, *, tokens: tuple[int, int] = (20, 3), finish_reason: str = "stop") -> Line:
    """An answered line, still without its name."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    choice["finish_reason"] = finish_reason
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    body = {"object": "chat.completion", "choices": [choice], "usage": usage}
    return {"response": {"status_code": 200, "request_id": "r", "body": body}, "error": None}


def refusal(status: int, message: str) -> Line:
    """A line that the model's endpoint refused."""
    body = {"error": {"message": message, "type": "error", "code": None}}
    return {"response": {"status_code": status, "request_id": "r", "body": body}, "error": None}


def not_reached() -> Line:
    """A line that the job did not come to."""
    error = {"code": "batch_expired", "message": "This request could not be executed in time."}
    return {"response": None, "error": error}


def text_of(body: Mapping[str, Any]) -> str:
    """The last turn of a line's body, its prompt, or its first text."""
    if "messages" in body:
        return str(body["messages"][-1]["content"])
    return str(body["prompt"]) if "prompt" in body else str(body["input"][0])


class BatchServer:
    """The server; `asked` counts over all jobs how often each text was submitted.

    `faults` are statuses to answer with, by "METHOD /path" without what follows the second slash,
    one for each request until they are used up; a status of 0 hangs up. `on` is called with the
    same name when a request has come, and with "done METHOD /path" when it has had its effect;
    under that name a fault hangs up after the effect.
    """

    def __init__(self, reply: Reply, *, states: Sequence[str] = STATES, token: str = "") -> None:
        self.reply, self.states, self.token = reply, tuple(states), token
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.faults: dict[str, list[int]] = {}
        self.refuse: Callable[[list[Line]], list[dict[str, Any]]] = lambda lines: []
        self.on: Callable[[str], None] = lambda name: None
        # What a fault says of the login that came with the request.
        self.told: Callable[[str], str] = lambda login: login
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._seen: Counter[str] = Counter()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"state": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> BatchServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)

    def forget(self) -> None:
        """Forget everything, as if it had been started anew."""
        for kept in (self.files, self.contents, self.jobs, self.asked, self._seen, self.requests):
            kept.clear()  # type: ignore[attr-defined]

    # -- what it does -----------------------------------------------------------------------------

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        file = self._stored(name, content)
        assert content.count(b"\n") <= 50_000 and len(content) <= 200_000_000
        return file

    def _stored(self, name: str, content: bytes) -> dict[str, Any]:
        with self.lock:
            number = f"file-{next(self._numbers)}"
            self.contents[number] = content
            self.files[number] = {
                "id": number, "object": "file", "bytes": len(content), "purpose": "batch",
                "created_at": int(time.time()), "filename": name, "status": "processed",
            }  # fmt: skip
            return self.files[number]

    def make(self, given: Mapping[str, Any]) -> dict[str, Any]:
        with self.lock:
            lines = self._lines(given["input_file_id"])
            assert all(line["url"] == given["endpoint"] for line in lines)
            assert len({line["custom_id"] for line in lines}) == len(lines) > 0
            number = f"batch-{next(self._numbers)}"
            errors = self.refuse(lines)
            self.jobs[number] = {
                "id": number, "object": "batch", "endpoint": given["endpoint"],
                "input_file_id": given["input_file_id"], "completion_window": "24h",
                "created_at": int(time.time()), "metadata": given["metadata"],
                "status": "validating", "errors": {"object": "list", "data": errors},
                "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
            }  # fmt: skip
            if not errors:
                self.asked.update(text_of(line["body"]) for line in lines)
            return self.jobs[number]

    def direct(self, body: Mapping[str, Any]) -> bytes:
        """Answer a request that came alone, in no job."""
        with self.lock:
            self.asked[text_of(body)] += 1
        return json.dumps(self.reply(body)[0]["response"]["body"]).encode()

    def _lines(self, file: str) -> list[Line]:
        return [json.loads(text) for text in self.contents[file].split(b"\n")[:-1]]

    def look(self, number: str) -> dict[str, Any]:
        with self.lock:
            job = self.jobs[number]
            if job["errors"]["data"]:
                job["status"] = "failed"
            elif job["status"] not in ("completed", "expired", "cancelled", "failed"):
                place = min(self._seen[number], len(self.states) - 1)
                self._seen[number] += 1
                job["status"] = self.states[place]
                if job["status"] in ("completed", "expired", "cancelled"):
                    self._finish(job)
            return job

    def _finish(self, job: dict[str, Any]) -> None:
        lines = self._lines(job["input_file_id"])
        good, bad = list[Line](), list[Line]()
        for line in lines:
            for number, answer in enumerate(self.reply(line["body"])):
                named = {"id": f"req-{number}", "custom_id": line["custom_id"], **answer}
                response = answer["response"]
                well = isinstance(response, dict) and response.get("status_code") == 200
                (good if well else bad).append(named)
        for kind, found in (("output", good), ("error", bad)):
            random.Random(f"{job['id']} {kind}").shuffle(found)
            if found:
                content = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found)
                stored = self._stored(f"{job['id']}_{kind}.jsonl", content.encode())
                job[f"{kind}_file_id"] = stored["id"]
        counts = job["request_counts"]
        counts["completed"], counts["failed"] = len(good), len(bad)


class Handler(BaseHTTPRequestHandler):
    state: BatchServer
    protocol_version = "HTTP/1.1"
    # Else each answer's body waits 40 ms for the acknowledgement of its head.
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._do("GET")

    def do_POST(self) -> None:
        self._do("POST")

    def _do(self, method: str) -> None:
        url = urlsplit(self.path)
        parts = url.path.removeprefix("/v1/").split("/")
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        kind = "/content" if parts[-1] == "content" else "/one" if len(parts) == 2 else ""
        name = f"{method} /{parts[0]}{kind}"
        self.state.requests[name] += 1
        self.state.keys.add(self.headers.get("authorization", ""))
        self.state.on(name)
        faults = self.state.faults.get(name, [])
        status = faults.pop(0) if faults else 200
        if status == 0:
            self.close_connection = True
            return
        if status != 200:
            told = f"fault {status} {self.state.told(self.headers.get('authorization', ''))}"
            self._send(json.dumps({"error": {"message": told}}).encode(), status)
            return
        try:
            body = self._answer(method, parts, parse_qs(url.query), content)
        except KeyError:
            self._send(b'{"error": {"message": "no such thing"}}', 404)
            return
        self.state.on(f"done {name}")
        if self.state.faults.get(f"done {name}"):
            self.close_connection = True
            self.state.faults[f"done {name}"].pop()
            return
        self._send(body, 200)

    def _answer(
        self, method: str, parts: list[str], query: dict[str, list[str]], content: bytes
    ) -> bytes:
        if parts == ["chat", "completions"]:
            return self.state.direct(json.loads(content))
        if parts[-1] == "content":
            return self.state.contents[parts[1]]
        if parts[0] == "files" and method == "POST":
            return json.dumps(self.state.upload(*self._file(content))).encode()
        if parts[0] == "batches" and method == "POST":
            with self.state.lock:
                return json.dumps(self.state.make(json.loads(content))).encode()
        if len(parts) == 2:
            with self.state.lock:
                return json.dumps(self.state.look(parts[1])).encode()
        with self.state.lock:
            found = list((self.state.files if parts[0] == "files" else self.state.jobs).values())
        return self._page(found[::-1], query)

    def _page(self, found: list[dict[str, Any]], query: dict[str, list[str]]) -> bytes:
        """Two at a time, so that whoever looks has to turn pages."""
        names = [one["id"] for one in found]
        begin = names.index(query["after"][0]) + 1 if "after" in query else 0
        page = found[begin : begin + 2]
        more = begin + 2 < len(found)
        listed = {"object": "list", "data": page, "has_more": more}
        if page:
            listed |= {"first_id": page[0]["id"], "last_id": page[-1]["id"]}
        return json.dumps(listed).encode()

    def _file(self, content: bytes) -> tuple[str, bytes]:
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + content)
        for part in form.iter_parts():
            if part.get_filename():
                return str(part.get_filename()), part.get_payload(decode=True)
        raise KeyError("no file")

    def _send(self, body: bytes, status: int) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
