"""Upload of an exported adapter to a repository of the Hugging Face Hub, in one commit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hub.errors import InputError, RegistryAccessError, UnavailableError

_NOT_OF_HTTP: Final = ("huggingface_hub", "builtins")

_ID: Final = re.compile(r"[\w][\w.-]{0,95}/[\w][\w.-]{0,95}", re.ASCII)


def push(folder: Path, repository: str, *, private: bool, message: str) -> str:
    """Upload a folder; return the address of the commit.

    Args:
        folder: What is uploaded.
        repository: `organisation/name`, made if it is not there.
        private: Whether one that is made is private.
        message: Of the commit.

    Raises:
        InputError: The name is no repository's.
        RegistryAccessError: The Hub wants a token, or another one.
        UnavailableError: The Hub does not answer, or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    check_repository(repository)
    unanswered: tuple[type[Exception], ...] = (*_connection_errors(HfHubHTTPError), OSError)
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        made = api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    except HFValidationError as error:
        raise InputError(f"{repository!r} is no repository: {error}", field="push") from None
    except OfflineModeIsEnabled:
        raise UnavailableError("HF_HUB_OFFLINE is set, so nothing was pushed; unset it") from None
    except HfHubHTTPError as error:
        raise _refused(repository, error) from None
    except unanswered as error:
        raise UnavailableError(
            f"the Hugging Face Hub does not answer ({type(error).__name__}: {error}); run the same "
            "command again"
        ) from None
    except ValueError as error:  # what answers is no Hub
        raise UnavailableError(
            f"the Hugging Face Hub answered what its client cannot read: {error}"
        ) from None
    return str(made.commit_url)


def _connection_errors(answered: type[Exception]) -> tuple[type[Exception], ...]:
    """Return what the client's HTTP library raises without an answer: no connection, a timeout.

    That library is huggingface_hub's choice and has changed; its base class is one of those of the
    error for an answer.
    """
    return tuple(
        kind
        for kind in answered.__mro__
        if issubclass(kind, Exception) and kind.__module__.partition(".")[0] not in _NOT_OF_HTTP
    )


def check_repository(repository: str) -> None:
    """Check the name of a repository.

    Raises:
        InputError: It is none.
    """
    if not _ID.fullmatch(repository) or ".." in repository:
        raise InputError(
            f"{repository[:100]!r} is no repository; name it as organisation/name", field="push"
        )


def _refused(repository: str, error: Exception) -> RegistryAccessError | UnavailableError:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    if status in (401, 403):
        return RegistryAccessError(
            f"the Hugging Face Hub refuses to write to {repository} ({status}); log in with "
            "`hf auth login` and a token that may write there"
        )
    return UnavailableError(
        f"the Hugging Face Hub refused {repository} ({status}): {str(error).splitlines()[0]:.200}"
    )
