"""The review page: two people at once, a kill in the middle, and other sites that want to post."""

from __future__ import annotations

import http.server
import importlib.util
import json
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.review.label_events import Labels
from tests.page.conftest import hostile
from tests.review.conftest import Served, made, pairs, ranked, sft

pytestmark = pytest.mark.real


@pytest.fixture
def person(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open the page as somebody, in a context of their own."""
    contexts = []

    def come(address: str, name: str) -> Any:
        context = browser.new_context()
        contexts.append(context)
        page = context.new_page()
        page.faults = []
        page.on("pageerror", lambda found: page.faults.append(str(found)))
        page.goto(address)
        assert "token" not in page.url
        page.locator("#who").fill(name)
        page.locator("#who").press("Enter")
        page.wait_for_selector("#row[data-id]")
        return page

    yield come
    for context in contexts:
        context.close()


def answer(page: Any, key: str) -> None:
    """Press a key and wait until the page has another row, or none."""
    from playwright.sync_api import expect

    said = page.locator("#progress").inner_text()
    page.keyboard.press(key)
    expect(page.locator("#progress")).not_to_have_text(said, timeout=30_000)


def events(path: Path) -> list[Any]:
    return sqlite3.connect(path).execute("SELECT who, item, decision FROM event").fetchall()


def test_two_people_and_a_kill_in_the_middle(
    review: Callable[..., Served], person: Callable[..., Any], tmp_path: Path
) -> None:
    made(tmp_path, sft(100))
    served = review("run", "--port", "0")
    path = tmp_path / "run.review.sqlite"
    anna, ben = person(served.address, "anna"), person(served.address, "ben")
    pressed: dict[str, list[tuple[str, str]]] = {"anna": [], "ben": []}
    for k in range(100):
        for name, page in (("anna", anna), ("ben", ben)):
            key = "k" if (k + len(name)) % 3 else "d"
            item = page.locator("#row").get_attribute("data-id")
            if k == 50 and name == "ben":
                # The server dies while a label is on its way, and comes back at the same address.
                served.kill()
                page.keyboard.press(key)
                page.wait_for_timeout(300)
                assert "not saved" in page.locator("#saved").inner_text()
                served = review("run", "--port", str(served.port))
                deadline = time.time() + 30
                while page.locator("#row").get_attribute("data-id") == item:
                    assert time.time() < deadline
                    page.wait_for_timeout(50)
            else:
                answer(page, key)
            pressed[name].append((item, {"k": "keep", "d": "drop"}[key]))
    assert "Nothing is left for you" in anna.locator("#row").inner_text()
    found = events(path)
    assert len(found) == 200
    for name in pressed:
        assert [(item, said) for who, item, said in found if who == name] == pressed[name]
    same = dict(pressed["anna"])
    alike = sum(same[item] == said for item, said in pressed["ben"])
    assert f"people agree in {alike:.1f} % on 100 rows" in ben.locator("#agreement").inner_text()
    assert anna.faults == ben.faults == []


def test_keys_are_dead_in_fields_and_undo_asks_again(
    review: Callable[..., Served], person: Callable[..., Any], tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    made(tmp_path, sft(5))
    served = review("run", "--port", "0")
    path = tmp_path / "run.review.sqlite"
    page = person(served.address, "anna")
    first = page.locator("#row").get_attribute("data-id")
    page.keyboard.press("c")
    page.keyboard.type("kd u")
    assert page.locator("#comment").input_value() == "kd u" and events(path) == []
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    assert "the run says" not in page.locator("#told").inner_text()
    answer(page, "d")
    assert "the run says: kept" in page.locator("#told").inner_text()
    with Labels(path) as labels:
        assert [one.comment for one in labels.last()] == ["kd u"]
    answer(page, "u")
    assert page.locator("#row").get_attribute("data-id") == first
    answer(page, "k")
    assert [said for _, _, said in events(path)] == ["drop", None, "keep"]
    held = page.locator("#row").get_attribute("data-id")
    page.keyboard.press(" ")
    expect(page.locator("#row")).not_to_have_attribute("data-id", held)
    assert len(events(path)) == 3


def test_a_pair_is_answered_by_its_side(
    review: Callable[..., Served], person: Callable[..., Any], tmp_path: Path
) -> None:
    made(tmp_path, pairs(12))
    served = review("run", "--port", "0")
    page = person(served.address, "anna")
    for _ in range(12):
        left = page.locator(".sides section").first.inner_text()
        answer(page, "f" if "good" in left else "j")
    with Labels(tmp_path / "run.review.sqlite") as labels:
        assert {one.value for one in labels.last()} == {"chosen"}
    # Nobody else's word is seen before one's own.
    assert person(served.address, "ben").locator("#told").inner_text() == ""


def test_candidates_are_ranked_by_keys(
    review: Callable[..., Served], person: Callable[..., Any], tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    made(tmp_path, [ranked([0.5, 0.9, 0.2, 0.5], f"Ask {k}") for k in range(4)])
    served = review("run", "--ask", "ranks", "--port", "0")
    path = tmp_path / "run.review.sqlite"
    page = person(served.address, "anna")
    order, saved = page.locator("#order"), list[str]()

    def press(keys: str) -> None:
        """Press the keys of candidates, which are capital letters here, and other keys."""
        texts = page.locator(".sides .turn").all_inner_texts()
        for one in keys:
            number = str(texts.index(one.lower()) + 1) if one.isupper() else one
            button = page.locator("#answers button", has_text=f"answer {number}")
            if one.isupper():
                assert button.locator("kbd").inner_text() == number
            page.keyboard.press(number)

    def rank(keys: str, value: str) -> None:
        """Rank the row on the page; it is saved by the last key, and not before."""
        said = page.locator("#progress").inner_text()
        press(keys[:-1])
        assert page.locator("#progress").inner_text() == said
        press(keys[-1])
        expect(page.locator("#progress")).not_to_have_text(said, timeout=30_000)
        saved.append(value)
        with Labels(path) as labels:
            assert sorted(one.value or "" for one in labels.last()) == sorted(saved)

    # Best to worst, the last one without a key; then ties before and at the end.
    rank("BAD", "2,1,4,3")
    expect(page.locator("#told")).to_contain_text("ranks of the answers as you saw them: ")
    rank("CeAB", "1,3,1,4")
    rank("Dt", "2,2,2,1")
    # What has begun is taken back key by key; in a field the keys are text.
    press("CeA")
    expect(order).to_contain_text("2 of 4 left")
    expect(page.locator(".sides h2", has_text="rank 1")).to_have_count(2)
    press("uu")
    expect(order).to_contain_text("3 of 4 left")
    press("u")
    expect(order).to_have_text("Press the answers' numbers in their order, the best first.")
    press("c1")
    assert page.locator("#comment").input_value() == "1"
    page.keyboard.press("Escape")
    press("A")
    page.keyboard.press("Control+1")
    expect(order).to_contain_text("3 of 4 left")
    assert len(events(path)) == 3
    rank("BC", "1,2,3,4")
    # Now `u` takes back the label, which is an event, and the row is asked again.
    answer(page, "u")
    assert [said for _, _, said in events(path)] == ["ranks"] * 4 + [None]
    saved.pop()
    rank("t", "1,1,1,1")
    other = person(served.address, "ben")
    assert other.locator("#told").inner_text() == ""
    assert page.faults == other.faults == []


FOREIGN = """<form id=f method=post action="{at}/label" enctype="text/plain" target=i>
<input name='{{"item":"{item}","decision":"drop","who":"eve","nonce":"nonce-1234","x":"'
value='"}}'>
</form><iframe name=i></iframe><script>
document.getElementById("f").submit();
fetch("{at}/label", {{method: "POST", credentials: "include", mode: "no-cors", body: JSON.stringify(
  {{item: "{item}", decision: "drop", who: "eve", nonce: "nonce-simple"}})}});
fetch("{at}/label", {{method: "POST", credentials: "include", headers: {{"Content-Type":
  "application/json"}}, body: JSON.stringify({{item: "{item}", decision: "drop", who: "eve",
  nonce: "nonce-json"}})}}).catch(() => 0);
</script>"""
UNGUARDED = """
import sys
from pathlib import Path
from curate.review import Labels, queue_of, serve
queue = queue_of(Path("run"), count=5)
serve(queue, Labels(Path("open.sqlite")), 0, lambda at: print(at, flush=True), guarded=False)
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_another_page_posts_nothing(
    guarded: bool,
    review: Callable[..., Served],
    person: Callable[..., Any],
    tmp_path: Path,
) -> None:
    result = made(tmp_path, sft(5))
    served = review("run", "--port", "0") if guarded else review(code=UNGUARDED)
    path = tmp_path / ("run.review.sqlite" if guarded else "open.sqlite")
    item = next(iter(result.kept)).id

    class Foreign(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(FOREIGN.format(at=served.at, item=item).encode())

        def log_message(self, *_: Any) -> None:
            pass

    page = person(served.address, "anna")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as foreign:
        threading.Thread(target=foreign.serve_forever, daemon=True).start()
        # The same host on another port shares cookies; another name is another site.
        for host in ("127.0.0.1", "localhost"):
            other = page.context.new_page()
            other.goto(f"http://{host}:{foreign.server_address[1]}/")
            other.wait_for_timeout(700)
        foreign.shutdown()
    landed = [who for who, *_ in events(path) if who == "eve"]
    assert landed == [] if guarded else landed


def status_of(served: Served, path: str, body: Any = None, **headers: str) -> int:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(served.at + path, data=data, headers=names)
    opener = urllib.request.build_opener(urllib.request.HTTPHandler)
    try:
        return int(opener.open(request, timeout=120).status)
    except urllib.error.HTTPError as error:
        return error.code


def test_each_guard_refuses_alone(review: Callable[..., Served], tmp_path: Path) -> None:
    result = made(tmp_path, sft(3))
    served = review("run", "--port", "0")
    with Labels(tmp_path / "run.review.sqlite") as labels:
        cookie = f"curate-review={labels.setting('token')}"
        own = {
            "Cookie": cookie,
            "Origin": served.at,
            "X_Curate_Token": labels.setting("page token"),
            "Content_Type": "application/json",
        }
    body = {"item": next(iter(result.kept)).id, "decision": "keep", "who": "x", "nonce": "n" * 9}
    assert status_of(served, "/") == 403
    assert status_of(served, "/", Cookie=cookie) == 200
    assert status_of(served, "/", Cookie=cookie, Host="evil.example") == 421
    assert status_of(served, "/open?token=wrong") == 403
    for name, value in [
        ("Origin", "http://evil.example"),
        ("Origin", f"http://127.0.0.1:{served.port + 1}"),
        ("X_Curate_Token", "wrong"),
        ("Content_Type", "text/plain"),
        ("Sec_Fetch_Site", "same-site"),
        ("Cookie", ""),
    ]:
        assert status_of(served, "/label", body, **{**own, name: value}) == 403
    assert status_of(served, "/label", {**body, "x": "y" * 70_000}, **own) == 413
    assert status_of(served, "/label", {**body, "who": "\x1b[31m"}, **own) == 400
    assert status_of(served, "/label", [1], **own) == 400
    for path in ("/next?who=x", "/export", "/review.js"):
        assert status_of(served, path, Cookie=cookie, Sec_Fetch_Site="same-site") == 403
        assert status_of(served, path, Cookie=cookie, Sec_Fetch_Site="same-origin") == 200
    assert status_of(served, "/", Cookie=cookie, Sec_Fetch_Site="same-site") == 200
    assert events(tmp_path / "run.review.sqlite") == []
    assert status_of(served, "/label", body, **own) == 200
    assert len(events(tmp_path / "run.review.sqlite")) == 1


def test_ctrl_c_ends_it(review: Callable[..., Served], tmp_path: Path) -> None:
    made(tmp_path, sft(3))
    assert review("run", "--port", "0").interrupt() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_rows_stay_text_and_axe_finds_no_fault(
    scheme: str, review: Callable[..., Served], browser: Any, tmp_path: Path
) -> None:
    texts = hostile(9)
    rows = [{"prompt": text, "chosen": text + "a", "rejected": text + "b"} for text in texts[:-3]]
    made(tmp_path, rows)
    served = review("run", "--port", "0")
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(served.address)
    page.locator("#who").fill("anna")
    page.locator("#who").press("Enter")
    page.wait_for_selector("#row[data-id]")
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec and spec.origin
    # The page's own policy lets no other script in: playwright reaches past it.
    page.evaluate(Path(spec.origin).with_name("axe.min.js").read_text())
    found = page.evaluate("axe.run()")
    said = [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found["violations"]]
    assert said == []
    seen = []
    for _ in rows:
        seen.append(page.locator("#row").inner_text())
        answer(page, "f")
    assert sum("PWNED" in text for text in seen) >= 4
    assert page.evaluate("window.PWNED === undefined")
    context.close()
