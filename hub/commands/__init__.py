"""The commands that need neither training nor server: registry and client."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def register(app: typer.Typer) -> None:
    """Mount the commands of registry, bases, post-edits, terms, keys, the machine, clients."""
    from hub.commands.bases import register_bases
    from hub.commands.canaries import alias_app, canary_app
    from hub.commands.demo import register_demo
    from hub.commands.doctor import register_doctor
    from hub.commands.feedback import feedback_app
    from hub.commands.glossaries import glossaries_app
    from hub.commands.keys import keys_app
    from hub.commands.residency import adapters_app
    from hub.commands.translate import register_translate

    app.add_typer(adapters_app, name="adapters")
    app.add_typer(feedback_app, name="feedback")
    app.add_typer(alias_app, name="alias")
    app.add_typer(canary_app, name="canary")
    app.add_typer(glossaries_app, name="glossaries")
    app.add_typer(keys_app, name="keys")
    register_bases(app)
    register_demo(app)
    register_doctor(app)
    register_translate(app)
