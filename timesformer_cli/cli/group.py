"""How `tsf` reads its command line: a video in a command's place, usage errors in one line, help."""

import glob
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from timesformer_cli.cli.foreign_words import (
    PAIR,
    command_hint,
    is_foreign,
    option_hint,
    pairs_hint,
)
from timesformer_cli.cli.stderr import printable, stderr
from timesformer_cli.errors import ExitCode, UsageError

DEFAULT_COMMAND = "classify"
# Typer brings a Click of its own or takes the one that is installed, so its errors have no name
# that can be imported; this is the class of all that a command line can be wrong by.
BadCommandLine: type[Exception] = typer.BadParameter.__mro__[1]
INTRODUCTION = """\
tsf says what a video shows.

  tsf clip.mp4          say what it shows; also folders, globs, many files
  tsf models            what there is: classes, cost, licence of each model
  tsf train clips/      make a model of your own: a folder for each class

The first use of a model fetches it; camera-motion comes with tsf:

  tsf clip.mp4 --model camera-motion"""
CLOSING = """\
tsf COMMAND --help explains a command, tsf --version names the version, and
tsf --install-completion lets the shell complete commands and models."""
GLOB = re.compile(r"[*?\[]")


def looks_like_videos(word: str) -> bool:
    """Whether a word that is no command means videos: a path, a glob, a video's name, or `-`."""
    return (
        word == "-"
        or os.path.lexists(word)
        or "/" in word
        or os.sep in word
        or _has_video_suffix(word)
        or GLOB.search(word) is not None
    )


class CommandGroup(TyperGroup):
    """The commands of `tsf`; a first word that means videos is read as `tsf classify` with them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command that the first word names, and the words that are left for it."""
        word, *rest = args
        known = self.get_command(ctx, word)
        if known is not None:
            return word, known, rest
        videos = looks_like_videos(word)
        if videos and not is_foreign(word):
            # What begins with a hyphen came behind a `--`, which was taken off.
            guard = ["--"] if word.startswith("-") and word != "-" else []
            found = self.get_command(ctx, DEFAULT_COMMAND)
            return DEFAULT_COMMAND, found, [*guard, word, *rest]
        if ctx.resilient_parsing:
            return None, None, rest
        hint = command_hint(word, rest, self.options())
        hint = hint or "it names no file either; tsf help lists the commands"
        if videos:
            hint += f"; or, for the videos of that name: tsf {DEFAULT_COMMAND} {word}"
        raise UsageError(f"no command '{word}'; {hint}")

    def options(self) -> Mapping[str, frozenset[str]]:
        """The options of each command."""
        return {
            name: frozenset(
                option
                for parameter in command.params
                if parameter.param_type_name == "option"
                for option in (*parameter.opts, *parameter.secondary_opts)
            )
            | {"--help", "-h"}
            for name, command in self.commands.items()
        }

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words behind the options of `tsf` itself; without any word there is help."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit(ExitCode.USAGE)
        return super().parse_args(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; one that is wrong is said in one line, with exit code 2."""
        run = partial(
            super().main, args, prog_name, complete_var, False, windows_expand_args, **extra
        )
        if not standalone_mode:
            return run()
        words = list(sys.argv[1:] if args is None else args)
        try:
            self._refuse_foreign(words)
            sys.exit(run())
        except (BadCommandLine, UsageError) as error:
            text = self._explained(error, words)
            stderr().print(f"[bold red]error:[/] {escape(printable(text))}", soft_wrap=True)
            sys.exit(ExitCode.USAGE)

    def _refuse_foreign(self, words: Sequence[str]) -> None:
        """Raise UsageError for words that would be taken for something else than they mean."""
        ends = words.index("--") if "--" in words else len(words)
        pairs = zip(words[:ends], ["", *words], strict=False)
        plain = [word for word, before in pairs if _is_plain(word) and _is_plain(before)]
        foreign = [word for word in plain if PAIR.fullmatch(word) and not _is_there(word)]
        if pairs_hint(foreign, self.options()):
            hint = pairs_hint(plain, self.options())
            raise UsageError(f"key=value is how another tool is called; {hint}")
        for word in words[:ends]:
            if _is_hyphened_video(word) and os.path.lexists(word):
                raise UsageError(_hyphen_hint(word))

    def _explained(self, error: Exception, words: Sequence[str]) -> str:
        """What is wrong with the command line and what to say instead, in one line."""
        if isinstance(error, UsageError):
            return str(error)
        if hyphened := [word for word in words if _is_hyphened_video(word)]:
            return _hyphen_hint(hyphened[0])
        text = fault_of(error)
        context = getattr(error, "ctx", None)
        command = context.info_name if context is not None and context.parent else ""
        if not command and words and words[0] in self.commands:
            command = words[0]
        more = f"tsf {command} -h explains it" if command else "tsf -h lists what there is"
        option = getattr(error, "option_name", "")
        if not option or "no such option" not in text.lower():
            return f"{text}; {more}"
        if not option.startswith("--"):  # of a word like -loglevel only the first letter is told
            option = next((w.split("=")[0] for w in words if w.startswith(option)), option)
        commands = self.options()
        if not command and option in commands[DEFAULT_COMMAND]:
            said = shlex.join(["tsf", DEFAULT_COMMAND, *words])
            return f"{option} belongs behind a command; say: {said}"
        command = command or DEFAULT_COMMAND
        foreign = [option] + [
            name
            for word in words
            if (name := word.split("=")[0]).startswith("--") and name not in commands[command]
        ]
        hints = [
            f"no option {name}: {option_hint(name, command, commands) or more}"
            for name in dict.fromkeys(foreign)
            if name != "--"
        ]
        return "; ".join(hints)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of `tsf` itself: what most people want first, then all commands."""
        rows = {name: command for name, command in self.commands.items() if not command.hidden}
        wide = max(map(len, rows)) + 2
        lines = [INTRODUCTION, "", "Commands:"]
        for name, command in rows.items():
            help = " ".join((command.help or "").split("\n\n")[0].split())
            indent = " " * (wide + 2)
            lines += textwrap.wrap(
                f"  {name:{wide}}{help}", formatter.width, subsequent_indent=indent
            )
        formatter.write("\n".join([*lines, "", CLOSING, ""]))


def fault_of(error: Exception) -> str:
    """What is wrong with a command line, in one line, from the error of who read it."""
    if isinstance(error, typer.BadParameter):  # its message alone does not name the parameter
        said = error.format_message()
    else:
        said = str(getattr(error, "message", error))
    return " ".join(said.split()).replace("Value error, ", "").rstrip(".")


def _is_plain(word: str) -> bool:
    """Whether the word is no option, so that what follows it is no option's value."""
    return not word.startswith("-") or word in ("-", "--")


def _is_there(word: str) -> bool:
    return os.path.lexists(word) or bool(glob.glob(word))


def _is_hyphened_video(word: str) -> bool:
    """Whether a word that is read as options has a video's name."""
    return re.match("-[^-]", word) is not None and _has_video_suffix(word)


def _has_video_suffix(word: str) -> bool:
    suffix = os.path.splitext(word)[1].lower()
    if not suffix:  # most words; the import takes a moment
        return False
    from timesformer_cli.video.listed import SUFFIXES

    return suffix in SUFFIXES


def _hyphen_hint(word: str) -> str:
    said = shlex.quote(f"./{word}")
    return f"'{word}' begins as an option does; say {said}, or put it last, behind a --"
