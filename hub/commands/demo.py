"""`hub demo`: the whole of the hub in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register_demo(app: typer.Typer) -> None:
    """Mount `hub demo`."""
    app.command("demo")(demo)


def demo(
    folder: Annotated[
        Path, typer.Option(help="Keeps the demo's registry and training runs.")
    ] = Path("demo"),
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON.")
    ] = None,
) -> None:
    """Train two adapters, serve them with the base in int8, translate, and read the metrics.

    Needs no input: corpus and base come with the package. A second run in the same folder trains
    again and finds the same adapters already published.
    """
    import json

    from hub.demo.report import to_json
    from hub.demo.run import run_demo
    from hub.errors import EngineError, SettingsError

    if json_file is not None and not json_file.parent.is_dir():
        raise SettingsError(f"--json {json_file}: there is no folder {json_file.parent}")
    result = run_demo(folder)
    if json_file is not None:
        text = json.dumps(to_json(result), ensure_ascii=False, indent=2)
        try:
            json_file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"--json {json_file} cannot be written: {error.strerror}") from None
    if not result.mixed_equals_alone:
        raise EngineError(
            "not shown: rows of both adapters in one step, acting, each as it is alone; see above"
        )
