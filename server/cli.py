"""The `clipcore` command's subcommands."""

import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import IO, Any, get_args

import click
from pydantic import ValidationError

from server import logs
from server.changes import ChangeLog
from server.client import Client, RequestError
from server.lab import LAST_STEPS, Comparison, Result, compare
from server.protocol import Command
from server.serving import ListenError, Server, listen, tune_garbage_collector
from server.settings import PREFIX, Settings, unknown_variables
from server.store import Store
from server.wording import first_error_line, printable
from server.writer import StoreError

log = logging.getLogger("clipcore.server")

FORMATS = ("csv", "jsonl", "parquet", "changes")
COMMANDS: tuple[str, ...] = get_args(Command)

_url = click.option(
    "--url",
    envvar=f"{PREFIX}URL",
    default="http://127.0.0.1:8420",
    show_default=True,
    show_envvar=True,
    help="the server",
)
_token = click.option("--token", envvar=f"{PREFIX}TOKEN", help="the server's token, if it asks for one")
_json = click.option("--json", "as_json", is_flag=True, help="print JSON")


class _Command(click.Group):
    """Turns what can go wrong into one line on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ListenError, RequestError, StoreError) as error:
            raise click.ClickException(printable(str(error))) from error


@click.group(cls=_Command)
@click.version_option(package_name="clipcore", prog_name="clipcore")
def main() -> None:
    """Watch what gradient clipping does to a training run, live, and turn the knob while it runs."""


@main.command()
@click.option("--host", help="address to listen on, instead of CLIPCORE_HOST")
@click.option("--port", type=int, help="port to listen on, instead of CLIPCORE_PORT")
def serve(host: str | None, port: int | None) -> None:
    """Start the server and its page."""
    settings = _settings(host=host, port=port)
    logs.configure(settings.log_level, settings.log_format)
    for name, meant in unknown_variables(os.environ).items():
        log.warning("%s is no setting of clipcore%s", name, f"; was {meant} meant?" if meant else "")
    with closing(listen(settings)) as listener:
        from server.app import create_app  # it imports torch, which the other commands need not wait for

        _check_autostart(settings)
        with closing(Store(settings.database)) as store:
            settings = settings.model_copy(update={"port": listener.getsockname()[1]})
            server = Server(create_app(settings, store), settings)
            tune_garbage_collector()
            server.run([listener])


@main.command()
@click.argument("workload")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="of the workload; may be repeated")
@click.option(
    "--schedule",
    type=click.File("rb"),
    help="clip as another run was clipped, step for step: what `export RUN --format changes` wrote",
)
@_url
@_token
@_json
def train(
    workload: str, options: Sequence[str], schedule: IO[bytes] | None, url: str, token: str | None, as_json: bool
) -> None:
    """Train a built-in workload in a worker of the server.

    With --schedule it also takes that run's own options, if it trained the same workload; --option goes first.
    """
    replayed = _change_log(schedule).options(workload) if schedule else {}
    run = Client(url, token).start(workload, {**replayed, **_pairs(options)})
    click.echo(json.dumps({"id": run}) if as_json else f"run {run} has started; watch it at {url}")


@main.command()
@_url
@_token
@_json
def runs(url: str, token: str | None, as_json: bool) -> None:
    """List the runs, newest first."""
    found = Client(url, token).runs()
    if as_json:
        click.echo(json.dumps(found))
        return
    for run in found:
        click.echo(f"{run['id']:<14} {run['state']:<13} step {run['step']:>9,}  {printable(run['name'])}")


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("run")
@click.argument("changes", nargs=-1, required=True, metavar=f"KEY=VALUE...|{'|'.join(COMMANDS)}")
@_url
@_token
@_json
def control(run: str, changes: Sequence[str], url: str, token: str | None, as_json: bool) -> None:
    """Change a run's clipper while it trains, or pause, resume, step or stop its training.

    For example: control RUN mode=norm max_norm=0.5, or: control RUN pause
    """
    client = Client(url, token)
    command = changes[0] if len(changes) == 1 and changes[0] in COMMANDS else None
    reply = client.command(run, command) if command else client.control(run, _pairs(changes, COMMANDS))
    if as_json:
        click.echo(json.dumps(reply))
    elif reply["status"] == "applied":
        when = "after" if command in ("pause", "stop") else "at"
        click.echo(f"applied {when} step {reply['step']:,}: {json.dumps(reply['config'])}")
    else:
        click.echo("pending: the trainer has not answered yet; it will obey when it goes on")


@main.command()
@click.argument("run")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="csv", show_default=True)
@_url
@_token
def export(run: str, format_: str, url: str, token: str | None) -> None:
    """Write every row of a run, or the changes of its clipping, to standard output."""
    Client(url, token).export(run, format_, sys.stdout.buffer)


@main.command()
@click.argument("run")
@click.option("--output", "-o", type=click.File("wb", lazy=True), help="by default RUN.html; - is standard output")
@_url
@_token
def report(run: str, output: IO[bytes] | None, url: str, token: str | None) -> None:
    """Write a run as one HTML page: charts, changes and configuration, to keep or to pass on."""
    with output or click.open_file(f"{run}.html", "wb", lazy=True) as file:
        Client(url, token).export(run, "report", file)
    if output is None:
        click.echo(f"{run}.html")


@main.command()
@click.argument("workload")
@click.argument("trials", nargs=-1, required=True, metavar="KEY=VALUE[,KEY=VALUE]...|JSON...")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="of all trainings; may be repeated")
@_url
@_token
@_json
def lab(
    workload: str, trials: Sequence[str], options: Sequence[str], url: str, token: str | None, as_json: bool
) -> None:
    """Train a workload once for each trial, from the same seed, and compare what came of it.

    For example: lab rnn --option steps=600 mode=off max_norm=0.5 mode=agc,clipping=0.02

    A trial whose values have commas is a JSON object, such as '{"mode": "agc", "exclude": ["head", "embed"]}'.
    """
    tried = [_trial(trial) for trial in trials]
    width = max(map(len, trials))
    results: list[Result] = []
    try:
        for trial, result in zip(trials, compare(Client(url, token), workload, _pairs(options), tried), strict=True):
            results.append(result)
            if not as_json and len(results) == 1:  # what is refused has no table
                click.echo(
                    f"{'':{width}}  run           state     {'steps':>7}  {'loss':>8}  clipped  mean coef  non-finite"
                )
            if not as_json:
                click.echo(f"{trial:{width}}  {_result_line(result)}")
    finally:  # what is done is not lost when the rest fails or is interrupted
        if as_json and results:
            click.echo(Comparison(results=results).model_dump_json())
    if as_json:
        return
    shown, *others = [result.run for result in reversed(results)]
    link = f"{url.rstrip('/')}/?run={shown}" + (f"&with={','.join(others)}" if others else "")
    click.echo(f"loss: mean of the last {LAST_STEPS} steps; side by side at {link}")


def _trial(text: str) -> dict[str, Any]:
    """What a trial changes, written as pairs or as a JSON object."""
    if not text.startswith("{"):
        return _pairs(text.split(","))
    try:
        trial: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"expected KEY=VALUE,... or a JSON object, got {text!r}: {error}") from None
    return trial


def _result_line(result: Result) -> str:
    """The numbers of a training in the columns of `lab`, and why it failed."""
    why = map(printable, result.reason.strip().splitlines()[-1:] if result.state == "failed" else [])
    numbers = f"{result.steps:>7,}  {result.loss:>8.3g}  {result.clipped:>7.1%}  {result.coef:>9.3g}"
    return "  ".join([f"{result.run:<12}  {result.state:<8}  {numbers}  {result.nonfinite:>10,}", *why])


def _settings(**given: Any) -> Settings:
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{PREFIX}{first['loc'][0]}: ".upper() if first["loc"] else ""
        raise click.ClickException(name + first_error_line([{**first, "loc": ()}])) from error


def _check_autostart(settings: Settings) -> None:
    from server.workloads import find  # it imports torch

    if settings.autostart:
        try:
            find(settings.autostart)
        except ValueError as error:
            raise click.ClickException(f"{PREFIX}AUTOSTART: {error}") from error


def _change_log(file: IO[bytes]) -> ChangeLog:
    try:
        return ChangeLog.model_validate_json(file.read())
    except ValidationError as error:
        raise click.ClickException(
            f"{file.name} holds no changes of a run: {first_error_line(error.errors())}"
        ) from error


def _pairs(texts: Sequence[str], words: Sequence[str] = ()) -> dict[str, Any]:
    """What is written as pairs; `words` could stand in their place, each alone."""
    pairs = [text.partition("=") for text in texts]
    if bad := [text for text, (_, equals, _) in zip(texts, pairs, strict=True) if not equals]:
        alone = f", or {', '.join(words[:-1])} or {words[-1]} alone" if words else ""
        raise click.BadParameter(f"expected KEY=VALUE{alone}, got {bad[0]!r}")
    keys = [key for key, _, _ in pairs]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise click.BadParameter(f"{twice[0]} is given more than once: {', '.join(texts)}")
    return {key: _value(text) for key, _, text in pairs}


def _value(text: str) -> Any:
    """What the text means as JSON or as a number, else the text itself: .5 and inf are numbers, norm is text."""
    for read in (json.loads, float):
        with suppress(ValueError):
            return read(text)
    return text
