"""Write the dashboards as JSON, from the code beside this file.

    python deploy/grafana/build.py [FOLDER]

FOLDER is deploy/grafana/dashboards when it is not given. `make dashboards` runs this.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from pages import PAGES

FOLDER = Path(__file__).resolve().parent / "dashboards"


def main(arguments: list[str]) -> None:
    """Write every dashboard."""
    folder = Path(arguments[0]) if arguments else FOLDER
    for make in PAGES:
        page = make()
        text = JSONEncoder(sort_keys=True, indent=2).encode(_as_grafana_has_it(page.build()))
        (folder / f"{page.uid}.json").write_text(text + "\n", encoding="utf-8")


def _as_grafana_has_it(page: Dashboard) -> dict[str, Any]:
    """Return the dashboard without keys that the builders give to variables of every type.

    Grafana's schema has them for intervals alone.
    """
    found: dict[str, Any] = json.loads(JSONEncoder().encode(page))
    for variable in found["templating"]["list"]:
        for key in ("auto", "auto_count", "auto_min"):
            variable.pop(key)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
