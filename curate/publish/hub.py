"""A dataset's repository on the Hugging Face Hub: may it be written, what does it lack, send it.

Everything that can be known is known before a byte is sent. Data goes first, in commits of a few
files, and the card last: a repository with a card is complete. A file that has arrived is known by
its digest, so an upload that was interrupted goes on, and an unchanged one sends nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import StoppedShort, UsageError
from curate.system.credentials import remember_secret, without_secrets

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Files of one commit: what an interruption may make the next push look at again.
FILES_A_COMMIT = 16
# A repository that was pushed from here begins with this file, and the file with these words.
MARK, MARKED = "recipe.yaml", b"# Made by curate"


def url_of(name: str) -> str:
    """Return the page of the dataset `name`, whether it is there or not."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/datasets/{name}"


class Repository:
    """A dataset's repository, checked for being writable."""

    def __init__(self, name: str, *, public: bool = False) -> None:
        """Ask the Hub who we are and what is there.

        Args:
            name: `ORG/NAME`.
            public: whether everybody may see it; one that exists must be so already.

        Raises:
            UsageError: it cannot be written, or is not ours to replace; nothing was sent.
        """
        from huggingface_hub import HfApi, constants, get_token

        self.name, self._public = name, public
        self._endpoint = constants.ENDPOINT
        token = get_token()
        # It may come from the file that `hf auth login` writes.
        remember_secret(token, "HF_TOKEN")
        if token is None:
            raise UsageError(
                f"there is no token for {self._endpoint}; make one that may write at "
                f"{self._endpoint}/settings/tokens, then: hf auth login (or set HF_TOKEN)"
            )
        self._api: HfApi = HfApi()
        who = self._ask(self._api.whoami, "the token was looked up")
        access = (who.get("auth") or {}).get("accessToken") or {}
        if access.get("role") == "read":
            raise UsageError(
                f"the token of {who['name']} may only read; make one that may write at "
                f"{self._endpoint}/settings/tokens, then: hf auth login"
            )
        owner, _, dataset = self.name.partition("/")
        owners = [who["name"], *(org["name"] for org in who.get("orgs") or ())]
        if owner not in owners:
            raise UsageError(
                f"{who['name']} cannot write to {owner}, only to {', '.join(owners)}; push to "
                f"{who['name']}/{dataset}, or ask {owner} for access"
            )
        self.exists = self._check_existing()

    @property
    def url(self) -> str:
        """The page of the dataset."""
        return url_of(self.name)

    def _check_existing(self) -> bool:
        """Tell whether the repository is there; raise `UsageError` where it is not ours."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            found = self._ask(lambda: self._api.dataset_info(self.name), "the name was looked up")
        except RepositoryNotFoundError:
            return False
        self._ask(
            lambda: self._api.auth_check(self.name, repo_type="dataset", write=True),
            "write access was looked up",
        )
        if found.private is self._public:
            now = "private" if found.private else "public"
            raise UsageError(
                f"{self.name} is there already, and {now}; say --{now}, or change it first: "
                f"{self.url}/settings"
            )
        names = set(self._remote())
        ours = False
        if MARK in names:
            path = self._ask(
                lambda: self._api.hf_hub_download(self.name, MARK, repo_type="dataset"),
                "its recipe was read",
            )
            ours = Path(path).read_bytes().startswith(MARKED)
        if names - {".gitattributes"} and not ours:
            raise UsageError(
                f"the name {self.name} is taken by a dataset that curate did not push, and whose "
                f"files would be mixed with these; choose another name: {self.name}-curated"
            )
        return True

    def _remote(self) -> dict[str, Any]:
        """Return the files that are there by path."""
        from huggingface_hub import RepoFile

        tree = self._ask(
            lambda: list(self._api.list_repo_tree(self.name, repo_type="dataset", recursive=True)),
            "its files were listed",
        )
        return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}

    def difference(self, files: Mapping[str, Path]) -> tuple[list[str], list[str]]:
        """Return the paths of `files` that are missing there or differ, and those to be deleted.

        Raises:
            StoppedShort: the Hub could not be reached.
        """
        remote = self._remote() if self.exists else {}
        wanted = []
        for path, file in files.items():
            there = remote.get(path)
            # A file is known by the digest that the Hub stores it under: Git's, or of a large one
            # its own.
            if there is None:
                same = False
            elif there.lfs is not None:
                with file.open("rb") as large:
                    same = hashlib.file_digest(large, "sha256").hexdigest() == there.lfs.sha256
            else:
                data = file.read_bytes()
                blob = b"blob %d\0" % len(data) + data
                same = hashlib.sha1(blob, usedforsecurity=False).hexdigest() == there.blob_id
            wanted += [] if same else [path]
        return wanted, [path for path in remote if path.startswith("data/") and path not in files]

    def send(self, files: Mapping[str, Path], last: tuple[str, ...]) -> tuple[list[str], list[str]]:
        """Send the files that are missing or differ, `last` ones after all others.

        Data files of an earlier push that are no longer part of it go with the last commit.

        Returns:
            The paths that were sent, and those that were deleted; none where all was up to date.

        Raises:
            StoppedShort: the Hub could not be reached; what has arrived stays.
        """
        if not self.exists:
            self._ask(
                lambda: self._api.create_repo(
                    self.name, repo_type="dataset", private=not self._public, exist_ok=True
                ),
                "the repository was made",
            )
            self.exists = True
        wanted, stale = self.difference(files)
        first = [path for path in wanted if path not in last]
        sent: list[str] = []
        for start in range(0, len(first), FILES_A_COMMIT):
            some = first[start : start + FILES_A_COMMIT]
            self._commit({path: files[path] for path in some}, (), "Data")
            sent += some
        ends = {path: files[path] for path in wanted if path in last}
        if ends or stale:
            self._commit(ends, stale, "Card")
        return [*sent, *ends], stale

    def _commit(self, files: Mapping[str, Path], stale: Any, what: str) -> None:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        additions = [CommitOperationAdd(path, str(file)) for path, file in files.items()]
        deletions = [CommitOperationDelete(path) for path in stale]
        self._ask(
            lambda: self._api.create_commit(
                self.name,
                [*additions, *deletions],
                repo_type="dataset",
                commit_message=f"{what}, by curate",
            ),
            f"{len(additions)} files were sent",
        )

    def _ask(self, call: Callable[[], Any], what: str) -> Any:
        """Ask the Hub; what it refuses is a `UsageError`, what fails a `StoppedShort`."""
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

        try:
            return call()
        except RepositoryNotFoundError:
            raise
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", 0)
            said = _said(error)
            if status in (401, 403):
                raise UsageError(
                    f"{self._endpoint} refused the token when {what}: {said}; make one that may "
                    f"write at {self._endpoint}/settings/tokens, then: hf auth login"
                ) from None
            # Asked too often, or a commit of somebody else came between: the same again will do.
            if status and status < 500 and status not in (409, 412, 429):
                raise UsageError(f"{self._endpoint} refused when {what}: {said}") from None
            raise StoppedShort(f"{self._endpoint} failed when {what}: {said}") from None
        except (UsageError, StoppedShort):
            raise
        except Exception as error:  # errors of the network, of no common class
            said = f"{type(error).__name__}: {_said(error)}"
            raise StoppedShort(f"{self._endpoint} failed when {what}: {said}") from None


def _said(error: Exception) -> str:
    """Return what an error says, without the token: neither it nor its chain is kept as it is."""
    return " ".join(without_secrets(str(error)).split())[:300]
