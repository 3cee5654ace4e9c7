"""What a run folder has spent with its other stores."""

from __future__ import annotations

from pathlib import Path

from curate.runs.folder import RunFolder
from curate.runs.spending import FolderSpending
from curate.store.budget import Budget
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
