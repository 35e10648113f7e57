"""Bases from the Hugging Face Hub: the files that are needed, into the Hub's own cache."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from hub.bases.weights import INDEX_SUFFIX, PICKLE, SAFETENSORS, find_weights, shard_names
from hub.console import note, progress, size_text
from hub.errors import (
    BaseAccessError,
    BaseNotFoundError,
    BaseUnavailableError,
    CorruptBaseError,
    HubError,
    StorageFullError,
)

if TYPE_CHECKING:
    from hub.console import Progress

_SIDE: Final = (
    "config.json", "generation_config.json", "base.json", "README.md", "LICENSE*",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "sentencepiece.bpe.model", "spiece.model", "source.spm", "target.spm",
)  # fmt: skip
_MAIN: Final = "main"
_REVISION: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-/]*")
_SHORT: Final[Mapping[str, str]] = MappingProxyType(
    {name: f"google-t5/{name}" for name in ("t5-small", "t5-base", "t5-large", "t5-3b", "t5-11b")}
)
"""Ids from before the Hub asked for an owner."""


@dataclass(frozen=True, slots=True)
class HubRef:
    """A model on the Hub.

    Attributes:
        id: owner/name.
        revision: Branch, tag or commit.
    """

    id: str
    revision: str = _MAIN

    @classmethod
    def parse(cls, ref: str) -> HubRef | None:
        """Read ID or ID@REVISION; None where the text has neither form.

        Raises:
            BaseNotFoundError: It has the form, but is no id that the Hub could know.
        """
        name, at, revision = ref.partition("@")
        name = _SHORT.get(name, name)
        if name.count("/") != 1 or name.startswith((".", "/", "~")):
            return None
        _check_id(ref, name)
        if at and (not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision):
            raise BaseNotFoundError(
                f"base {ref!r}: {revision!r} is no revision; give a branch, a tag or a commit "
                "after the @",
                field="base",
            )
        return cls(name, revision or _MAIN)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model in the Hub's cache.

    Attributes:
        folder: Its snapshot.
        commit: What the revision meant when it was looked up.
    """

    folder: Path
    commit: str


def fetch(ref: HubRef) -> Fetched:
    """Return a model's snapshot, with what is missing of it downloaded now.

    Only the config, the tokenizer and one form of the weights are fetched: safetensors where
    there are any. Without network, or with HF_HUB_OFFLINE=1, the cache alone answers.

    Raises:
        BaseNotFoundError: There is no such model or revision, or it has no weights.
        BaseAccessError: Its licence must be accepted first, or it is private.
        BaseUnavailableError: The Hub does not answer, and the cache does not have it.
        StorageFullError: There is no room for it.
    """
    from huggingface_hub import hf_hub_download

    with _explained(ref), quiet_client():
        config = Path(hf_hub_download(ref.id, "config.json", revision=ref.revision))
        folder, commit = config.parent, config.parent.name
        _fetch_side_files(ref, commit)
        if not _is_whole(folder):
            _fetch_weights(ref, folder, commit)
    return Fetched(folder, commit)


def _check_id(ref: str, name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise BaseNotFoundError(
            f"base {ref!r} is neither a folder nor an id of the Hugging Face Hub: {reason}",
            field="base",
        ) from error


def _fetch_side_files(ref: HubRef, commit: str) -> None:
    """Fetch what is small, before the weights: a snapshot with weights has all the rest."""
    from huggingface_hub import snapshot_download

    snapshot_download(ref.id, revision=commit, allow_patterns=list(_SIDE))


def _is_whole(folder: Path) -> bool:
    try:
        find_weights(folder)
    except CorruptBaseError:
        return False
    return True


def _fetch_weights(ref: HubRef, folder: Path, commit: str) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    entries = HfApi().list_repo_tree(ref.id, revision=commit)
    sizes = {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}
    names = [name for name in _choose(ref, sizes, commit) if not (folder / name).exists()]
    total = sum(sizes[name] for name in names)
    _check_room(ref, total)
    note(f"downloading {ref.id} ({commit[:12]}): {size_text(total)} in {', '.join(names)}")
    with progress(f"downloading {size_text(total)}", total) as work:
        for name in names:
            _download(ref, name, commit, work)


def _choose(ref: HubRef, sizes: Mapping[str, int], commit: str) -> Sequence[str]:
    """Return the files of the weights in the order of preference that folders have."""
    from huggingface_hub import hf_hub_download

    for name in (SAFETENSORS, PICKLE):
        if name in sizes:
            return [name]
        index = f"{name}{INDEX_SUFFIX}"
        if index in sizes:
            shards = shard_names(Path(hf_hub_download(ref.id, index, revision=commit))).values()
            found = sorted(set(shards))
            missing = next((shard for shard in found if shard not in sizes), None)
            if missing is not None:
                raise CorruptBaseError(
                    f"base {ref.id!r}: its {index} names {missing}, which the model does not have",
                    field="base",
                )
            return found
    foreign = [path for path in sizes if path.endswith((".h5", ".msgpack", ".ot", ".gguf"))]
    instead = f"; it has {foreign[0]}, which is not read" if foreign else ""
    raise BaseNotFoundError(
        f"base {ref.id!r} at {ref.revision} has neither {SAFETENSORS} nor {PICKLE}{instead}; look "
        "for a revision or a copy of the model that has one",
        field="base",
    )


def _download(ref: HubRef, name: str, commit: str, work: Progress) -> None:
    """Fetch one file; the client resumes a broken transfer where it stopped, some five times."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        """Hands the client's progress on; shows nothing itself."""

        def __init__(self, *args: Any, initial: float = 0, **options: Any) -> None:
            super().__init__(disable=True)  # type: ignore[no-untyped-call]
            work.advance(initial, name)

        def update(self, n: float | None = 1) -> None:
            work.advance(n or 0)

    hf_hub_download(ref.id, name, revision=commit, tqdm_class=Bar)


def _check_room(ref: HubRef, size: int) -> None:
    from huggingface_hub import constants

    home = Path(constants.HF_HUB_CACHE)
    place = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < size:
        raise StorageFullError(
            f"no room for {ref.id} in {home}: {size_text(size)} are needed, {size_text(free)} are "
            "free; free some space, or set HF_HOME to a folder on another disk",
            field="base",
        )


@contextmanager
def quiet_client() -> Iterator[None]:
    """Keep the client's bars off the screen; what it says of a broken transfer stays."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


@contextmanager
def _explained(ref: HubRef) -> Iterator[None]:
    try:
        yield
    except HubError:
        raise
    except Exception as error:  # the client's transport has errors of its own, not exported
        raise _explain(ref, error) from error


def _explain(ref: HubRef, error: Exception) -> HubError:
    from huggingface_hub import constants
    from huggingface_hub import errors as of_hub

    if isinstance(error, of_hub.GatedRepoError):
        return BaseAccessError(
            f"base {ref.id!r} is gated: accept its licence on {constants.ENDPOINT}/{ref.id}, then "
            "log in with `hf auth login`",
            field="base",
        )
    if isinstance(error, of_hub.RevisionNotFoundError):
        return BaseNotFoundError(
            f"base {ref.id!r} has no revision {ref.revision!r}; see "
            f"{constants.ENDPOINT}/{ref.id}/tree/main for its branches, tags and commits",
            field="base",
        )
    if isinstance(error, of_hub.RepositoryNotFoundError) or _status(error) in (401, 403):
        return BaseNotFoundError(
            f"base {ref.id!r} is neither a folder here nor a model on {constants.ENDPOINT} that "
            "you may see; check the name, or log in with `hf auth login` if it is private",
            field="base",
        )
    if isinstance(error, of_hub.LocalEntryNotFoundError | of_hub.OfflineModeIsEnabled):
        return _not_cached(ref)
    if isinstance(error, of_hub.EntryNotFoundError):
        return BaseNotFoundError(
            f"base {ref.id!r} at {ref.revision} has no config.json; give a transformers model",
            field="base",
        )
    return _explain_failure(ref, error)


def _not_cached(ref: HubRef) -> HubError:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return BaseUnavailableError(
            f"base {ref.id!r} at {ref.revision} is not, or not whole, in the cache "
            f"{constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids to fetch it; unset that, or "
            "give a local folder",
            field="base",
        )
    return BaseUnavailableError(
        f"{constants.ENDPOINT} does not answer, and base {ref.id!r} is not in the cache "
        f"{constants.HF_HUB_CACHE}; check the network, or give a local folder",
        field="base",
    )


def _explain_failure(ref: HubRef, error: Exception) -> HubError:
    from huggingface_hub import constants

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(
            f"no room left for {ref.id} in {constants.HF_HUB_CACHE}; free some space, or set "
            "HF_HOME to a folder on another disk",
            field="base",
        )
    reason = (str(error).splitlines() or [""])[0]
    return BaseUnavailableError(
        f"base {ref.id!r} cannot be fetched from {constants.ENDPOINT} ({type(error).__name__}: "
        f"{reason:.120}); run the same command again, files that arrived whole are kept, or give "
        "a local folder",
        field="base",
    )


def _status(error: Exception) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)
