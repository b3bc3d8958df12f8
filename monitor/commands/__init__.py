"""The command line: what each command takes. What it does lies in a module of its own, loaded when it is called."""

# ruff: noqa: PLC0415 (each command loads its own module, so that `check` does not pay for `run`)
# ruff: noqa: PLR0917 (a command takes as many arguments as it has options)

from __future__ import annotations

import signal
from importlib.metadata import version
from typing import Annotated

import typer

from config.vocabulary import LogFormat, LogLevel, Scenario, VerifierName

DEFAULT_CONFIG = "/etc/certvigil"

app = typer.Typer(
    name="certvigil",
    help="Keeps vigil over certificates: files, keystores and live TLS endpoints, judged as each client would.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(no_args_is_help=True, help="Check, describe or show the configuration.")
app.add_typer(config_app, name="config")
policy_app = typer.Typer(no_args_is_help=True, help="Explain what policies decide, and simulate what they will.")
app.add_typer(policy_app, name="policy")
notify_app = typer.Typer(no_args_is_help=True, help="Try channels; acknowledge, silence, and decide on messages.")
app.add_typer(notify_app, name="notify")


ConfigPath = Annotated[str, typer.Option("--config", "-c", help="The configuration: a file or a directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Socket = Annotated[
    str, typer.Option("--socket", help="The daemon's Unix socket.", envvar="CERTVIGIL_SOCKET", show_default=True)
]
DEFAULT_SOCKET = "/run/certvigil/certvigil.sock"


@app.callback(invoke_without_command=True)
def top(show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Take the options that stand before any command."""
    if show_version:
        typer.echo(f"certvigil {version('certvigil')}")
        raise typer.Exit


@app.command()
def check(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...", help="A file, a directory, - (standard input), HOST:PORT, or https://HOST."
        ),
    ],
    ca_file: Annotated[
        str | None,
        typer.Option("--ca-file", help="Trust the certificates in this file instead of the system's."),
    ] = None,
    verifier: Annotated[
        VerifierName | None,
        typer.Option(help="Whose rules decide, by default OpenSSL's; files are judged by them where it is given."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The name that the certificate must carry, and to ask an endpoint for.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="FILE", help="The private key to compare with, instead of one found beside."),
    ] = None,
    password_file: Annotated[
        str | None, typer.Option("--password-file", metavar="FILE", help="Opens keystores and encrypted keys.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Judge as of this time, such as 2027-03-20 or 2027-03-20T08:00:00Z."),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for each endpoint.", min=0.1)] = 10.0,
    as_json: Json = False,
) -> None:
    """Look once, without a daemon or a configuration; exits with 0 ok, 1 warning, 2 critical, 3 unknown."""
    from monitor.commands.check import CheckOptions
    from monitor.commands.check import check as run

    options = CheckOptions(
        ca_file=ca_file,
        verifier=verifier,
        name=name,
        at=at,
        key=key,
        password_file=password_file,
        timeout=timeout,
        as_json=as_json,
    )
    raise typer.Exit(run(targets, options))


@app.command()
def run(
    config: ConfigPath = DEFAULT_CONFIG,
    log_format: Annotated[LogFormat, typer.Option(help="How log lines are written.")] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help="From which level on.")] = LogLevel.INFO,
) -> None:
    """Run the daemon in the foreground, until SIGTERM; SIGHUP reads the configuration again."""
    # Until the daemon can reload, to be asked to must not kill it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from monitor.commands.run import run as start

    raise typer.Exit(start(config, log_format, log_level))


@app.command()
def demo(
    scenario: Annotated[Scenario, typer.Option(help="What happens.")] = Scenario.FAULTS,
    seconds: Annotated[
        float | None,
        typer.Option(help="End by itself after so many seconds, as soon as everything was shown; else on Ctrl-C."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(help="Where the daemon answers HTTP, as host:port; else at an address of its own on loopback."),
    ] = None,
) -> None:
    """Build a small appliance on loopback, watch it and show what happens; leaves nothing behind."""
    from monitor.demo.tour import demo as start

    raise typer.Exit(start(scenario, seconds, listen))


@app.command()
def status(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME...]", show_default=False, help="Groups, components or targets; patterns with * and ?."
        ),
    ] = [],  # noqa: B006
    problems: Annotated[
        bool, typer.Option("--problems", help="Only what is not ok, or has something pending.")
    ] = False,
    socket: Socket = DEFAULT_SOCKET,
    as_json: Json = False,
    healthy: Annotated[
        bool, typer.Option("--healthy", help="Print nothing; exit with 0 if the daemon is ready.")
    ] = False,
) -> None:
    """Show what the daemon knows now: what is wrong, since when, and what cures it; exits like `check`."""
    from monitor.commands.status import StatusQuery
    from monitor.commands.status import status as show

    raise typer.Exit(show(socket, StatusQuery(tuple(names), problems, as_json), healthy=healthy))


Since = Annotated[str, typer.Option("--since", metavar="TIME", help="How far back, such as 12h, or since when.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only what happened before.")]


@app.command()
def history(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME...]", show_default=False, help="Targets, components or groups; patterns with * and ?."
        ),
    ] = [],  # noqa: B006
    since: Since = "30d",
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many entries.")] = 100,
    config: ConfigPath = DEFAULT_CONFIG,
    database: Annotated[
        str | None,
        typer.Option("--database", help="Read this database instead of the configured one."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what happened, newest first, from the database; no daemon is needed."""
    from monitor.commands.history import HistoryQuery
    from monitor.commands.history import history as show

    raise typer.Exit(show(HistoryQuery(tuple(names), since, until, limit, as_json), config, database))


@app.command()
def explain(
    codes: Annotated[
        list[str],
        typer.Argument(metavar="[CODE...]", show_default=False, help="Codes of findings; patterns with * and ?."),
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Say what a finding means, what cures it and whom it hurts; without a code, list all findings."""
    from monitor.commands.explain import explain as show

    raise typer.Exit(show(codes, as_json=as_json))


@app.command()
def reload(socket: Socket = DEFAULT_SOCKET) -> None:
    """Have the daemon read its configuration again; what is wrong with it is printed and the last good one stays."""
    from monitor.commands.reload import reload as ask

    raise typer.Exit(ask(socket))


Components = Annotated[
    list[str],
    typer.Argument(
        metavar="COMPONENT...", help="Or groups, each for all of its members. Changed as one, or not at all."
    ),
]
OneComponent = Annotated[str, typer.Argument(help="Or a group, for all of its members as one.")]
AllowShorter = Annotated[
    bool, typer.Option("--allow-shorter", help="It may end as soon as in an hour (3600 s); by default it must last.")
]
Losses = Annotated[list[str], typer.Option("--lose", metavar="CLIENT", help="A client that may be lost; repeatable.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and its hash; touch nothing.")]
BoundTo = Annotated[str, typer.Option("--plan", metavar="HASH", help="Do it only if this still is the plan.")]
Waiting = Annotated[str, typer.Argument(metavar="PLAN", help="The hash of a plan that waits, or how it begins.")]


@app.command()
def actor(
    config: ConfigPath = DEFAULT_CONFIG,
    log_format: Annotated[LogFormat, typer.Option(help="How log lines are written.")] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help="From which level on.")] = LogLevel.INFO,
) -> None:
    """Run the privileged helper in the foreground: it replaces and rolls back for those who may ask it to."""
    from monitor.commands.run import run_actor as start

    raise typer.Exit(start(config, log_format, log_level))


@app.command()
def plan(
    components: Components,
    losses: Losses = [],  # noqa: B006 (typer copies it)
    allow_shorter: AllowShorter = False,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show what the candidate in the inbox would lead to, or why it would not; exits like `replace`."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import replace as act

    options = ActOptions(config, dry_run=True, as_json=as_json, allow_shorter=allow_shorter)
    raise typer.Exit(act(components, [], None, losses, options))


@app.command()
def replace(
    components: Components,
    files: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="FILE",
            help="Certificate, chain, key: PEM, DER, PKCS#7, PKCS#12; repeatable, before each file; else the inbox.",
        ),
    ] = [],  # noqa: B006
    password_file: Annotated[str | None, typer.Option("--password-file", help="Opens an encrypted key.")] = None,
    losses: Losses = [],  # noqa: B006
    allow_shorter: AllowShorter = False,
    key_compromised: Annotated[
        bool, typer.Option("--key-compromised", help="Give up the keys in use for good, whatever becomes of this.")
    ] = False,
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Replace the certificate of components in a transaction: verified live, undone by itself where it does not hold.

    Exits with 0 committed, or nothing to do, 1 refused (nothing was touched), 2 undone, superseded or failed forward, 3
    frozen, 4 unusable.
    """
    from monitor.commands.act import ActOptions
    from monitor.commands.act import replace as act

    options = ActOptions(config, dry_run, plan, as_json, allow_shorter=allow_shorter)
    raise typer.Exit(act(components, files, password_file, losses, options, key_compromised=key_compromised))


@app.command()
def activate(
    components: Components,
    losses: Losses = [],  # noqa: B006
    allow_shorter: AllowShorter = False,
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Have services serve what is on disk, once the whole set there has passed the checks; exits like `replace`."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import activate as act

    raise typer.Exit(act(components, losses, ActOptions(config, dry_run, plan, as_json, allow_shorter=allow_shorter)))


@app.command()
def rollback(
    component: OneComponent,
    to: Annotated[str | None, typer.Option("--to", metavar="SET", help="A backup set; by default the last.")] = None,
    losses: Losses = [],  # noqa: B006
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Give a component the files of a backup set back, in a transaction; exits like `replace`."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import rollback as act

    raise typer.Exit(act(component, to, losses, ActOptions(config, dry_run, plan, as_json)))


@app.command("reset-to-default")
def reset_to_default(
    component: OneComponent,
    losses: Losses = [],  # noqa: B006
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Give a component back the files that it had before certvigil first changed them; exits like `replace`."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import reset_to_default as act

    raise typer.Exit(act(component, losses, ActOptions(config, dry_run, plan, as_json)))


@app.command()
def approve(
    plan: Waiting,
    wait: Annotated[bool, typer.Option("--wait", help="Return once it was carried out; exit like `replace`.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Have a plan that waits carried out: exactly this one, for as long as approvals hold."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import approve as act

    raise typer.Exit(act(plan, ActOptions(config, as_json=as_json), wait=wait))


@app.command()
def reject(
    plan: Waiting,
    why: Annotated[str, typer.Option("--why", help="For those who see it in the record.")] = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Have a plan that waits not carried out, nor proposed again."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import reject as act

    raise typer.Exit(act(plan, why, ActOptions(config, as_json=as_json)))


@app.command()
def recover(
    thaw: Annotated[
        list[str], typer.Option("--thaw", metavar="COMPONENT", help="A frozen one that is right now.")
    ] = [],  # noqa: B006
    release: Annotated[
        str, typer.Option("--release", metavar="CANDIDATE", help="One in quarantine to try again.")
    ] = "",
    reinstate: Annotated[
        str,
        typer.Option("--reinstate-key", metavar="KEY", help="One that was given up by mistake, by its spki_sha256."),
    ] = "",
    live: Annotated[bool, typer.Option("--live/--no-live", help="Whether services run, to be put right, too.")] = True,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Finish or undo what a crash left half done; doing so again changes nothing."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import recover as act

    raise typer.Exit(act(thaw, release, reinstate, ActOptions(config, as_json=as_json), live=live))


@app.command()
def audit(
    components: Annotated[
        list[str],
        typer.Argument(
            metavar="[COMPONENT...]", show_default=False, help="Only these, or groups; patterns with * and ?."
        ),
    ] = [],  # noqa: B006
    who: Annotated[
        list[str], typer.Option("--who", metavar="NAME", help="Only what they asked for, approved or rejected.")
    ] = [],  # noqa: B006
    action: Annotated[
        list[str], typer.Option("--action", metavar="ACTION", help="Only replace, rollback or activate; repeatable.")
    ] = [],  # noqa: B006
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="How far back, such as 12h, or since when.")
    ] = None,
    until: Until = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Print every record, one a line.")] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Say whether the chain of the audit holds, and where it breaks: exit code 2."),
    ] = False,
    holds: Annotated[
        str, typer.Option("--holds", metavar="SHA256", help="With --verify: an entry that must be there.")
    ] = "",
) -> None:
    """Tell who asked for what, who approved it, and how it ended, from audit and journal of the actor."""
    from monitor.commands.audit import AuditQuery
    from monitor.commands.audit import audit as show
    from monitor.commands.audit import verify as check_chain

    if verify or holds:
        raise typer.Exit(check_chain(config, holds))
    raise typer.Exit(show(config, AuditQuery(tuple(components), tuple(who), tuple(action), since, until, as_json)))


@app.command()
def backups(
    component: Annotated[str | None, typer.Argument(help="Or a group.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List what can be rolled back to."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import backups as show

    raise typer.Exit(show(component, ActOptions(config, as_json=as_json)))


@app.command("json-schema")
def json_schema(
    command: Annotated[
        str, typer.Argument(help="Such as 'check', 'plan' or 'notify show'; without it, list all.")
    ] = "",
) -> None:
    """Print the JSON Schema of what a command prints with --json."""
    from monitor.commands.json_schema import json_schema as show

    raise typer.Exit(show(command))


@config_app.command("check")
def config_check(path: Annotated[str, typer.Argument()] = DEFAULT_CONFIG) -> None:
    """Report every mistake in a configuration with its file, line and key; exits with 1 where there is one."""
    from monitor.commands.config import check as run_check

    raise typer.Exit(run_check(path))


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from monitor.commands.config import schema

    raise typer.Exit(schema())


@config_app.command("show")
def config_show(path: Annotated[str | None, typer.Argument()] = None, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Print the configuration as it takes effect: profile filled in, defaults written out, secrets masked."""
    from monitor.commands.config import show

    raise typer.Exit(show(path or config))


@config_app.command("units")
def config_units(
    path: Annotated[str, typer.Argument()] = DEFAULT_CONFIG,
    output: Annotated[
        str | None, typer.Option("--output", metavar="DIR", help="Write them below it, such as /etc, instead.")
    ] = None,
) -> None:
    """Print the units of systemd under which it runs: the daemon, the actor, recovery; users and directories."""
    from monitor.commands.units import units

    raise typer.Exit(units(path, output))


@notify_app.command("test")
def notify_test(
    channels: Annotated[list[str], typer.Argument(metavar="[CHANNEL...]", show_default=False)] = [],  # noqa: B006
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Send a message to channels, by default to all, without a daemon; exits with 1 where a URL did not take it."""
    from monitor.commands.notify import test

    raise typer.Exit(test(channels, config, as_json=as_json))


@notify_app.command("show")
def notify_show(socket: Socket = DEFAULT_SOCKET, as_json: Json = False) -> None:
    """Show the problems that were told, what was not delivered, and silences."""
    from monitor.commands.notify import show

    raise typer.Exit(show(socket, as_json=as_json))


@notify_app.command("acknowledge")
def notify_acknowledge(
    problem: Annotated[str, typer.Argument(help="Its short name, as messages and `notify show` give it.")],
    lasting: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="Until it is told again.")] = None,
    socket: Socket = DEFAULT_SOCKET,
) -> None:
    """Say that you know: a problem is not told again until it gets worse."""
    from monitor.commands.notify import acknowledge

    raise typer.Exit(acknowledge(problem, lasting, socket))


@notify_app.command("silence")
def notify_silence(
    lasting: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long, such as 2h.")],
    reason: Annotated[str, typer.Option(help="Why, for those who see it.")],
    target: Annotated[list[str], typer.Option(help="A name, or a pattern with * and ?.")] = [],  # noqa: B006
    component: Annotated[list[str], typer.Option()] = [],  # noqa: B006
    finding: Annotated[list[str], typer.Option(help="A code.")] = [],  # noqa: B006
    socket: Socket = DEFAULT_SOCKET,
) -> None:
    """Have nobody told of some findings, or of all, for some time; they show everywhere else."""
    from monitor.commands.notify import silence

    wanted = {"target": target, "component": component, "finding": finding}
    raise typer.Exit(silence(wanted, lasting, reason, socket))


@notify_app.command("unsilence")
def notify_unsilence(silence: Annotated[str, typer.Argument(help="Its id.")], socket: Socket = DEFAULT_SOCKET) -> None:
    """End a silence."""
    from monitor.commands.notify import unsilence

    raise typer.Exit(unsilence(silence, socket))


@notify_app.command("retry")
def notify_retry(channel: Annotated[str | None, typer.Argument()] = None, socket: Socket = DEFAULT_SOCKET) -> None:
    """Deliver messages that were given up again, to one channel or to all."""
    from monitor.commands.notify import decide

    raise typer.Exit(decide("retry", channel, socket))


@notify_app.command("drop")
def notify_drop(channel: Annotated[str | None, typer.Argument()] = None, socket: Socket = DEFAULT_SOCKET) -> None:
    """Forget messages that were given up, to one channel or to all."""
    from monitor.commands.notify import decide

    raise typer.Exit(decide("drop", channel, socket))


State = Annotated[
    str | None,
    typer.Option("--state", metavar="FILE", help="Decide by this file, as --json prints it, not the daemon."),
]


@policy_app.command("explain")
def policy_explain(
    target: Annotated[str, typer.Argument(help="A component, or a target.")],
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="As of this time, such as 2027-03-20.")] = None,
    state: State = None,
    config: ConfigPath = DEFAULT_CONFIG,
    socket: Socket = DEFAULT_SOCKET,
    as_json: Json = False,
) -> None:
    """Show what each policy makes of a target: what holds since when, what it waits for, and why."""
    from monitor.commands.policy import Source, explain

    raise typer.Exit(explain(target, at, Source(config, state, socket), as_json=as_json))


@policy_app.command("test")
def policy_test(
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="From this time on, such as 2027-03-20; by default now.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=3660, help="For so many days; by default until the certificates end.")
    ] = None,
    lifetime: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="As if each certificate began then and lasted so long, such as 47d; by default those installed.",
        ),
    ] = None,
    state: State = None,
    candidates: Annotated[
        bool, typer.Option("--assume-candidates", help="As if each candidate came when it is waited for.")
    ] = False,
    approvals: Annotated[
        bool, typer.Option("--assume-approvals", help="As if each plan was approved when it waits for that.")
    ] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    socket: Socket = DEFAULT_SOCKET,
    as_json: Json = False,
) -> None:
    """Show on a timeline what would be decided and told if things stayed as they are, and what is done succeeded."""
    from monitor.commands.policy import Source, Span, test
    from monitor.decide.simulate import Assumptions

    assumptions = Assumptions(candidates, approvals)
    raise typer.Exit(test(Span(at, days, lifetime), assumptions, Source(config, state, socket), as_json=as_json))
