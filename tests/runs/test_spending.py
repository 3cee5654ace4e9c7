"""What a run folder has spent with its other stores."""

from __future__ import annotations

from pathlib import Path

from curate.runs.folder import RunFolder
from curate.runs.spending import FolderSpending
from curate.store.budget import Budget, spent
from curate.store.store import Store


def test_a_bill_that_came_after_the_last_note_counts_in_place_of_its_reservation(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.state.mkdir(parents=True)
    stores = FolderSpending(folder)
    with Store.open(tmp_path / "first") as store:
        stores.join(store, costs=True, pay_again=False)
        budget = Budget(store, folder.run_id)
        store.commit_now(lambda connection: budget.reserve(connection, [(100, False)]))
        stores.note(store)
        # The process is killed before the next note.
        store.commit_now(lambda connection: budget.settle(connection, 100, 700))
    with Store.open(tmp_path / "second") as store:
        amounts = FolderSpending(folder).elsewhere(store).amounts
    assert (amounts["sent"], amounts["settled"], amounts["reserved"]) == (1, 700, 0)


def test_what_steps_spent_with_other_stores_and_lost_ones_counts_as_theirs(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.state.mkdir(parents=True)

    def spend(name: str, step: str, bill: int) -> None:
        with Store.open(tmp_path / name) as store:
            stores = FolderSpending(folder)
            stores.join(store, costs=True, pay_again=True)
            budget = Budget(store, folder.run_id, elsewhere=stores.elsewhere(store))
            store.commit_now(lambda c: budget.reserve(c, [(100, False)], steps=[step]))
            store.commit_now(lambda c: budget.settle(c, 100, bill, step))
            stores.note(store)

    spend("first", "judge", 1)
    spend("second", "judge", 10)
    spend("second", "write", 100)
    # A row of the tally is gone, as where a store was put back from an older copy.
    with Store.open(tmp_path / "second") as store:
        store.commit_now(lambda c: c.execute("DELETE FROM step_spending").rowcount)
        store.commit_now(lambda c: c.execute("UPDATE spending SET sent = 0, settled = 0").rowcount)
    spend("second", "write", 1000)
    with Store.open(tmp_path / "third") as store:
        found = FolderSpending(folder).elsewhere(store)
    assert found.amounts["settled"] == 1111
    assert {step: own["settled"] for step, own in found.steps.items()} == {
        "judge": 11, "write": 1100,
    }  # fmt: skip
    tally = spent(found)
    assert {step: own.sent for step, own in tally.steps.items()} == {"judge": 2, "write": 2}


def test_a_request_that_was_taken_back_is_none_that_a_store_has_lost(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.state.mkdir(parents=True)
    with Store.open(tmp_path / "store") as store:
        stores = FolderSpending(folder)
        stores.join(store, costs=True, pay_again=False)
        budget = Budget(store, folder.run_id)
        store.commit_now(lambda connection: budget.reserve(connection, [(100, False)]))
        stores.note(store)
        # The process is killed before the next note.
        store.commit_now(lambda connection: budget.cancel(connection, 100, retry=False))
        FolderSpending(folder).join(store, costs=True, pay_again=False)
