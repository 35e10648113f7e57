"""Where an adapter comes from: a folder, or a repository of the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hub.bases.download import HubRef, quiet_client
from hub.console import note
from hub.errors import (
    AdapterNotFoundError,
    BaseAccessError,
    BaseNotFoundError,
    BaseUnavailableError,
    HubError,
)

CONFIG: Final = "adapter_config.json"
SAFETENSORS: Final = "adapter_model.safetensors"
PICKLE: Final = "adapter_model.bin"
VOCABULARY: Final = ("added_tokens.json", "tokenizer_config.json")
"""Files that say whether tokens were added; small, unlike tokenizer.json."""


@dataclass(frozen=True, slots=True)
class Source:
    """An adapter's files as they came.

    Attributes:
        name: The folder's name without its path, or "org/name@commit".
        folder: Where the files are.
    """

    name: str
    folder: Path


def find_source(ref: str) -> Source:
    """Return the folder that a user means; from the Hub only what an adapter needs is fetched.

    Raises:
        AdapterNotFoundError: There is no such folder or repository, or it holds no adapter.
        BaseAccessError: The repository is gated or private.
        BaseUnavailableError: The Hub does not answer, and its cache does not have the files.
    """
    local = _local(ref)
    if local is not None:
        return Source(local.resolve().name or "adapter", local)
    try:
        found = HubRef.parse(ref)
    except BaseNotFoundError as error:
        raise _neither(ref, error.message.partition(": ")[2]) from None
    if found is None:
        raise _neither(ref, "give owner/name or owner/name@revision")
    return _fetch(found)


def _local(ref: str) -> Path | None:
    try:
        folder = Path(ref).expanduser()
        return folder if ref.strip() and folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a null character
        return None


def _neither(ref: str, why: str) -> AdapterNotFoundError:
    return AdapterNotFoundError(
        f"adapter {ref[:120]!r} is neither a folder nor an id of the Hugging Face Hub: {why}",
        field="source",
    )


def _fetch(ref: HubRef) -> Source:
    """Fetch config, weights, and what says whether tokens were added."""
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        with quiet_client():
            config = Path(hf_hub_download(ref.id, CONFIG, revision=ref.revision))
            folder, commit = config.parent, config.parent.name
            note(f"fetching the adapter {ref.id} ({commit[:12]})")
            patterns = [SAFETENSORS, *VOCABULARY]
            snapshot_download(ref.id, revision=commit, allow_patterns=patterns)
            if not (folder / SAFETENSORS).exists():
                snapshot_download(ref.id, revision=commit, allow_patterns=[PICKLE])
    except Exception as error:  # the client's transport has errors of its own, not exported
        raise _explained(ref, error) from error
    return Source(f"{ref.id}@{commit}", folder)


def _explained(ref: HubRef, error: Exception) -> HubError:
    from huggingface_hub import constants
    from huggingface_hub import errors as of_hub

    if isinstance(error, of_hub.GatedRepoError):
        return BaseAccessError(
            f"adapter {ref.id!r} is gated: accept its terms on {constants.ENDPOINT}/{ref.id}, "
            "then log in with `hf auth login`",
            field="source",
        )
    if isinstance(error, of_hub.RevisionNotFoundError):
        return AdapterNotFoundError(
            f"adapter {ref.id!r} has no revision {ref.revision!r}; see "
            f"{constants.ENDPOINT}/{ref.id}/tree/main",
            field="source",
        )
    if isinstance(error, of_hub.RepositoryNotFoundError):
        return _neither(ref.id, "check the name, or log in with `hf auth login` if it is private")
    if isinstance(error, of_hub.LocalEntryNotFoundError | of_hub.OfflineModeIsEnabled):
        why = (
            "HF_HUB_OFFLINE forbids to fetch it"
            if constants.HF_HUB_OFFLINE
            else f"{constants.ENDPOINT} does not answer"
        )
        return BaseUnavailableError(
            f"adapter {ref.id!r} is not in the cache {constants.HF_HUB_CACHE}, and {why}; give a "
            "local folder",
            field="source",
        )
    if isinstance(error, of_hub.EntryNotFoundError):
        return AdapterNotFoundError(
            f"adapter {ref.id!r} at {ref.revision} has no {CONFIG}: it is no PEFT adapter",
            field="source",
        )
    reason = (str(error).splitlines() or [""])[0]
    return BaseUnavailableError(
        f"adapter {ref.id!r} cannot be fetched from {constants.ENDPOINT} "
        f"({type(error).__name__}: {reason:.120}); run the same command again, or give a folder",
        field="source",
    )
