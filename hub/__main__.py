"""Let `python -m hub` be the same as `hub`."""

from __future__ import annotations

from hub.cli import main

if __name__ == "__main__":
    main()
