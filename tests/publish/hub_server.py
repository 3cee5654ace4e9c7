"""A Hub on loopback: enough of its interface for the real clients to push, list and load datasets.

It keeps what it is sent in memory, speaks git-LFS for Parquet and plain commits for the rest, and
counts requests, so that a test can tell what travelled and break a connection when it likes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_planted_token_that_must_appear_nowhere"


@dataclass
class Repository:
    """One dataset: its files by path, and every commit's title and paths."""

    private: bool = True
    files: dict[str, bytes] = field(default_factory=dict)
    lfs: set[str] = field(default_factory=set)
    commits: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()


@dataclass
class Hub:
    """What the server holds, and how it is to behave."""

    user: str = "ann"
    orgs: tuple[str, ...] = ("lab",)
    role: str = "write"
    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    # Commits that are refused with 503 from the given number on; `None` refuses none.
    refuse_commits_from: int | None = None
    # Called with each request's number and line; one for which it returns true is lost on its way.
    arrives: Callable[[int, str], bool] | None = None
    url: str = ""
    lock: Any = field(default_factory=Lock)

    def count(self, word: str) -> int:
        """Return how many requests had `word` in their line."""
        return sum(word in line for line in self.requests)


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve an empty Hub."""
    hub = Hub()

    class Handler(_Handler):
        held = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    held: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _answer(self, status: int, data: Any = b"", headers: dict[str, str] | None = None) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        kind = "application/octet-stream" if isinstance(data, bytes) else "application/json"
        self.send_response(status)
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _not_found(self, code: str = "RepoNotFound") -> None:
        self._answer(404, {"error": "not found"}, {"X-Error-Code": code})

    def _read(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().strip() or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.held.bodies.append(body)
        return body

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        self._route()

    def _route(self) -> None:
        hub, parts = self.held, urlsplit(self.path)
        path, query = unquote(parts.path), parse_qs(parts.query)
        with hub.lock:
            hub.requests.append(f"{self.command} {path}")
            body = self._read() if self.command in ("POST", "PUT") else b""
            if hub.arrives is not None and hub.arrives(len(hub.requests), hub.requests[-1]):
                self.close_connection = True
                return
            if path == "/api/whoami-v2":
                self._whoami()
            elif path == "/api/repos/create":
                self._create(json.loads(body))
            elif path == "/api/validate-yaml":
                self._answer(200, {"errors": [], "warnings": []})
            elif found := re.fullmatch(r"/lfs/(\w+)", path):
                hub.blobs[found[1]] = body
                self._answer(200, {})
            elif found := re.fullmatch(r"/datasets/([\w.-]+/[\w.-]+)\.git/info/lfs/.*", path):
                self._batch(json.loads(body))
            elif found := re.fullmatch(r"/datasets/([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)", path):
                self._resolve(hub.repositories.get(found[1]), found[3])
            elif found := re.fullmatch(r"/api/datasets/([\w.-]+/[\w.-]+)(?:/(.*))?", path):
                self._dataset(found[1], found[2] or "", body, query)
            else:
                self._not_found("EntryNotFound")

    def _whoami(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid user token."})
            return
        token = {"displayName": "t", "role": self.held.role}
        orgs = [{"name": org, "type": "org"} for org in self.held.orgs]
        self._answer(
            200,
            {"type": "user", "name": self.held.user, "orgs": orgs, "auth": {"accessToken": token}},
        )

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or self.held.user}/{asked['name']}"
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        self.held.repositories.setdefault(name, Repository(private=private))
        self._answer(200, {"url": f"{self.held.url}/datasets/{name}", "id": name})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for one in asked["objects"]:
            found = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.held.blobs:
                href = f"{self.held.url}/lfs/{one['oid']}"
                found["actions"] = {"upload": {"href": href, "header": {}}}
            objects.append(found)
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _resolve(self, repository: Repository | None, path: str) -> None:
        if repository is None or path not in repository.files:
            self._not_found("EntryNotFound" if repository else "RepoNotFound")
            return
        data = repository.files[path]
        headers = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Repo-Commit": repository.sha,
            "Accept-Ranges": "bytes",
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            self._answer(206, data[start : end + 1], headers)
        elif self.command == "HEAD":
            self._answer(200, b"", {**headers, "Content-Length": str(len(data))})
        else:
            self._answer(200, data, headers)

    def _dataset(self, name: str, rest: str, body: bytes, query: dict[str, list[str]]) -> None:
        repository = self.held.repositories.get(name)
        if repository is None:
            self._not_found()
        elif rest == "" or rest.startswith("revision/"):
            self._answer(200, self._info(name, repository))
        elif rest.startswith("auth-check"):
            self._answer(200, {})
        elif rest.startswith("preupload/"):
            files = [
                {"path": f["path"], "uploadMode": mode, "shouldIgnore": False}
                for f in json.loads(body)["files"]
                for mode in ("lfs" if f["path"].endswith(".parquet") else "regular",)
            ]
            self._answer(200, {"files": files})
        elif found := re.fullmatch(r"tree/([^/]+)(?:/(.*))?", rest):
            self._tree(
                repository, found[2] or "", query.get("recursive", [""])[0].lower() == "true"
            )
        elif rest.startswith("paths-info/"):
            paths = parse_qs(body.decode())["paths"]
            self._answer(200, [_entry(repository, p) for p in paths if p in repository.files])
        elif rest.startswith("commit/"):
            self._commit(name, repository, body)
        else:
            self._not_found("EntryNotFound")

    def _info(self, name: str, repository: Repository) -> dict[str, Any]:
        head = repository.files.get("README.md", b"").decode()
        licence = re.search(r"^license: (.*)$", head, re.MULTILINE)
        return {
            "id": name,
            "sha": repository.sha,
            "private": repository.private,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": path} for path in repository.files],
            "cardData": {"license": licence[1]} if licence else {},
        }

    def _tree(self, repository: Repository, below: str, recursive: bool) -> None:
        prefix = f"{below}/" if below else ""
        entries: dict[str, Any] = {}
        for path in sorted(p for p in repository.files if p.startswith(prefix)):
            inner = path[len(prefix) :].split("/")
            depth = len(inner) if recursive else 1
            for level in range(1, min(depth, len(inner) - 1) + 1):
                folder = prefix + "/".join(inner[:level])
                oid = hashlib.sha1(folder.encode()).hexdigest()
                entries[folder] = {"type": "directory", "oid": oid, "size": 0, "path": folder}
            if recursive or len(inner) == 1:
                entries[path] = _entry(repository, path)
        self._answer(200, list(entries.values()))

    def _commit(self, name: str, repository: Repository, body: bytes) -> None:
        limit = self.held.refuse_commits_from
        if limit is not None and len(repository.commits) >= limit:
            self._answer(400, {"error": "the connection broke"})
            return
        title, paths = "", []
        for line in filter(None, body.split(b"\n")):
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                title = value["summary"]
                continue
            path = value["path"]
            paths.append(path)
            if entry["key"] == "file":
                repository.files[path] = base64.b64decode(value["content"])
                repository.lfs.discard(path)
            elif entry["key"] == "lfsFile":
                repository.files[path] = self.held.blobs[value["oid"]]
                repository.lfs.add(path)
            elif entry["key"] == "deletedFile":
                del repository.files[path]
        repository.commits.append((title, paths))
        answer = {"success": True, "commitOid": repository.sha, "hookOutput": ""}
        page = f"{self.held.url}/datasets/{name}/commit/{repository.sha}"
        self._answer(200, {**answer, "commitUrl": page})


def _entry(repository: Repository, path: str) -> dict[str, Any]:
    data = repository.files[path]
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    entry = {"type": "file", "oid": oid, "size": len(data), "path": path}
    if path in repository.lfs:
        digest = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 130}
    return entry
