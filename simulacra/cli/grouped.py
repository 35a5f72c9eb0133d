"""The program's help: commands under the headings of what they are for, and not in one long
list."""

from typing import Any

from typer.core import TyperGroup

from simulacra.core.errors import Mistake, meant

FIRST = "Train and look"  # the heading of commands that name no other
PANELS = [FIRST, "Pictures", "Clips", "Worlds", "Experiments"]  # as they follow one another


class Grouped(TyperGroup):
    """A program whose commands are listed by their `rich_help_panel`, which typer itself shows only
    by importing rich."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the headings and their commands, a line each."""
        panels: dict[str, list[tuple[str, Any]]] = {title: [] for title in PANELS}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = command.rich_help_panel
                rows = panels.setdefault(panel if isinstance(panel, str) else FIRST, [])
                rows.append((name, command))
        width = max((len(name) for rows in panels.values() for name, _ in rows), default=0)
        for title, rows in panels.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(
                        [
                            (name.ljust(width), one.get_short_help_str(formatter.width - width - 6))
                            for name, one in rows
                        ]
                    )

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of this name; a Mistake that names the nearest if there is none, in all
        versions of typer alike."""
        name = args[0] if args else ""
        known = self.list_commands(ctx)
        if name and not name.startswith("-") and name not in known:
            raise Mistake(f"No such command '{name}'{meant(name, known)} (see --help)")
        return super().resolve_command(ctx, args)
