"""Errors that nobody foresaw: logged whole here, told to the caller in one harmless line."""

from __future__ import annotations

import logging
import secrets

from hub.errors import EngineError, HubError

_log = logging.getLogger("adapterhub.server")


def as_hub_error(error: BaseException, doing: str) -> HubError:
    """Return an error fit for a caller; what is not a HubError goes to the log under an id.

    Args:
        error: What was caught.
        doing: What was being done, such as "loading an adapter"; for the log.
    """
    if isinstance(error, HubError):
        return error
    incident = secrets.token_hex(4)
    _log.error("incident %s while %s", incident, doing, exc_info=error)
    return EngineError(
        f"internal error {incident}; it is described under this number in the server's log",
        metadata={"incident": incident},
    )
