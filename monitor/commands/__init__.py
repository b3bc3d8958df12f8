"""The command line: the arguments of each command. The work of a command is in its own module, loaded when called."""

# ruff: noqa: PLC0415 (each command loads its own module, so `check` does not pay for `run`)
# ruff: noqa: PLR0917 (a command takes as many arguments as it has options)

from __future__ import annotations

import gc
import signal
from typing import Annotated, Literal

import typer

from config.command_reach import DEFAULT_CONFIG, DEFAULT_SOCKET
from config.vocabulary import (
    AddressChoice,
    ApplianceRole,
    ExportFormat,
    KeyKind,
    LogFormat,
    LogLevel,
    Machine,
    ProxyProtocolVersion,
    RequestKey,
    Scenario,
    VerifierName,
)
from monitor.commands.panel import Panel, PanelGroup

app = typer.Typer(
    name="certvigil",
    cls=PanelGroup,
    help="Watches certificates in files and at TLS endpoints, judges them as each client does, and replaces them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Rich takes longer to draw boxes around the help than all else that the help needs.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(no_args_is_help=True, help="Check, describe or show the configuration.")
app.add_typer(config_app, name="config", rich_help_panel=Panel.DAEMON)
policy_app = typer.Typer(no_args_is_help=True, help="Explain the decisions of policies, and simulate future decisions.")
app.add_typer(policy_app, name="policy", rich_help_panel=Panel.ACT)
notify_app = typer.Typer(no_args_is_help=True, help="Test channels; acknowledge, silence, retry and drop.")
app.add_typer(notify_app, name="notify", rich_help_panel=Panel.WATCH)
ca_app = typer.Typer(no_args_is_help=True, help="A CA of one's own, for a lab or a small site.")
app.add_typer(ca_app, name="ca", rich_help_panel=Panel.FILES)
trust_app = typer.Typer(no_args_is_help=True, help="Show what trust stores hold, and change them in transactions.")
app.add_typer(trust_app, name="trust", rich_help_panel=Panel.FILES)


ConfigPath = Annotated[str, typer.Option("--config", "-c", help="The configuration: a file or a directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Socket = Annotated[
    str, typer.Option("--socket", help="The daemon's Unix socket.", envvar="CERTVIGIL_SOCKET", show_default=True)
]


@app.callback(invoke_without_command=True)
def top(show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Take the options before any command."""
    if show_version:
        from config.version import own_version

        typer.echo(f"certvigil {own_version()}")
        raise typer.Exit


@app.command(rich_help_panel=Panel.WATCH)
def check(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="A file, a directory, - (standard input), HOST:PORT, or a URL as https://HOST and ldap://HOST.",
        ),
    ],
    ca_file: Annotated[
        str | None,
        typer.Option("--ca-file", help="Trust the certificates in this file instead of the system's."),
    ] = None,
    verifier: Annotated[
        VerifierName | None,
        typer.Option(help="The rules that decide, by default OpenSSL's. If it is given, files are judged by it, too."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The name that the certificate must have; an endpoint is asked for it.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="FILE", help="The private key to compare with, by default a key beside the file."
        ),
    ] = None,
    password_files: Annotated[
        list[str] | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            help="The password of keystores and encrypted keys; of several, each is tried.",
        ),
    ] = None,
    pointers: Annotated[
        list[str] | None,
        typer.Option(
            "--pointer",
            metavar="POINTER",
            help="A place in files of YAML or JSON, such as /data/tls.crt; '*' stands for any key. May be repeated.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Judge as of this time, such as 2027-03-20 or 2027-03-20T08:00:00Z."),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Connect through it: http://HOST:PORT (CONNECT) or socks5://HOST:PORT."),
    ] = None,
    proxy_credentials_file: Annotated[
        str | None,
        typer.Option("--proxy-credentials-file", metavar="FILE", help="USER:PASSWORD for the proxy, in one line."),
    ] = None,
    client_certificate: Annotated[
        str | None,
        typer.Option("--client-certificate", metavar="FILE", help="Show it (PEM) to a server that asks for one."),
    ] = None,
    client_key: Annotated[
        str | None,
        typer.Option("--client-key", metavar="FILE", help="Its private key, by default in the same file."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="IP", help="Connect to this address instead of those of the name.")
    ] = None,
    ipv4: Annotated[bool, typer.Option("-4", help="Look at IPv4 addresses alone.")] = False,
    ipv6: Annotated[bool, typer.Option("-6", help="Look at IPv6 addresses alone.")] = False,
    no_sni: Annotated[
        bool, typer.Option("--no-sni", help="Do not tell the server the name that is asked for.")
    ] = False,
    proxy_protocol: Annotated[
        ProxyProtocolVersion | None,
        typer.Option(help="The header of the PROXY protocol that the server expects first."),
    ] = None,
    key_type: Annotated[
        Literal["rsa", "ec"] | None,
        typer.Option(help="The kind of key to ask for, of a server that has both kinds."),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for each endpoint.", min=0.1)] = 10.0,
    supported: Annotated[
        bool,
        typer.Option(
            "--supported",
            help="Ask each address for every version, cipher and group that it takes: about a hundred connections.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Look once, without daemon and configuration. Exit code: 0 ok, 1 warning, 2 critical, 3 unknown."""
    from monitor.commands.check import CheckOptions
    from monitor.commands.check import check as run

    options = CheckOptions(
        ca_file=ca_file,
        verifier=verifier,
        name=name,
        at=at,
        key=key,
        password_files=tuple(password_files or ()),
        pointers=tuple(pointers or ()),
        proxy=proxy,
        proxy_credentials_file=proxy_credentials_file,
        client_certificate=client_certificate,
        client_key=client_key,
        address=address,
        addresses=_family(ipv4=ipv4, ipv6=ipv6),
        sni=not no_sni,
        proxy_protocol=proxy_protocol,
        key_type=None if key_type is None else KeyKind(key_type),
        timeout=timeout,
        supported=supported,
        as_json=as_json,
    )
    raise typer.Exit(run(targets, options))


def _family(*, ipv4: bool, ipv6: bool) -> AddressChoice:
    if ipv4 == ipv6:
        return AddressChoice.ALL
    return AddressChoice.IPV4 if ipv4 else AddressChoice.IPV6


@app.command(rich_help_panel=Panel.DAEMON)
def run(
    config: ConfigPath = DEFAULT_CONFIG,
    log_format: Annotated[LogFormat, typer.Option(help="The format of log lines.")] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help="The lowest level of lines that are written.")] = LogLevel.INFO,
) -> None:
    """Run the daemon in the foreground until SIGTERM. SIGHUP makes it read its configuration again."""
    # A request to reload must not kill the daemon before it can reload.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # What is loaded stays: the collector would walk it again and again meanwhile.
    gc.disable()
    from monitor.commands.run import run as start

    raise typer.Exit(start(config, log_format, log_level))


@app.command(rich_help_panel=Panel.APPLIANCE)
def demo(
    scenario: Annotated[Scenario, typer.Option(help="The story that is played.")] = Scenario.FAULTS,
    appliance: Annotated[
        ApplianceRole | None,
        typer.Option(
            help="Walk through the procedures on a Nexthink V6 appliance of this role instead.", show_default=False
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="End after so many seconds, once everything was shown; without it, end on Ctrl-C."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(help="The daemon's HTTP address, as host:port; by default a free address on loopback."),
    ] = None,
) -> None:
    """Build a small appliance on loopback, watch it, and show each event. Nothing is left behind."""
    from monitor.demo.tour import demo as start

    raise typer.Exit(start(scenario, seconds, listen, appliance))


@app.command(rich_help_panel=Panel.WATCH)
def status(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME...]", show_default=False, help="Groups, components or targets; patterns with * and ?."
        ),
    ] = [],  # noqa: B006
    problems: Annotated[
        bool, typer.Option("--problems", help="Only targets that are not ok, or that have a pending finding.")
    ] = False,
    socket: Socket = DEFAULT_SOCKET,
    as_json: Json = False,
    healthy: Annotated[
        bool, typer.Option("--healthy", help="Print nothing; exit with 0 if the daemon is ready.")
    ] = False,
) -> None:
    """Show the state of all targets: each fault, its begin and its cure. Exit codes as of `check`."""
    from monitor.commands.status import StatusQuery
    from monitor.commands.status import status as show

    raise typer.Exit(show(socket, StatusQuery(tuple(names), problems, as_json), healthy=healthy))


@app.command(rich_help_panel=Panel.WATCH)
def inventory(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME...]", show_default=False, help="Components, groups or endpoints; patterns with * and ?."
        ),
    ] = [],  # noqa: B006
    config: ConfigPath = DEFAULT_CONFIG,
    socket: Socket = DEFAULT_SOCKET,
    timeout: Annotated[float, typer.Option(help="Seconds for each endpoint where no daemon answers.", min=0.1)] = 5.0,
    as_json: Json = False,
) -> None:
    """Show what is installed and served, who issued it, and which clients accept it.

    The daemon is asked; where none answers, the command looks itself, by the configuration. Exit code: 0, or 3 where
    it cannot be told.
    """
    from monitor.commands.inventory import InventoryQuery, show_inventory

    raise typer.Exit(show_inventory(InventoryQuery(tuple(names), config, socket, timeout, as_json)))


Since = Annotated[str, typer.Option("--since", metavar="TIME", help="The begin: so long ago, such as 12h, or a time.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="The end: only earlier entries.")]


@app.command(rich_help_panel=Panel.WATCH)
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
    """Show the history from the database, newest first. No daemon is needed."""
    from monitor.commands.history import HistoryQuery
    from monitor.commands.history import history as show

    raise typer.Exit(show(HistoryQuery(tuple(names), since, until, limit, as_json), config, database))


@app.command(rich_help_panel=Panel.WATCH)
def explain(
    codes: Annotated[
        list[str],
        typer.Argument(metavar="[CODE...]", show_default=False, help="Codes of findings; patterns with * and ?."),
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Explain a finding: its meaning, its cure and whom it hurts. Without a code, list all findings."""
    from monitor.commands.explain import explain as show

    raise typer.Exit(show(codes, as_json=as_json))


@app.command(rich_help_panel=Panel.WATCH)
def why(
    client: Annotated[str, typer.Argument(metavar="CLIENT", show_default=False, help="A client of the configuration.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", show_default=False, help="An endpoint of the configuration, HOST:PORT, or a file."
        ),
    ],
    config: ConfigPath = DEFAULT_CONFIG,
    timeout: Annotated[float, typer.Option(help="Seconds for an endpoint.", min=0.1)] = 10.0,
    as_json: Json = False,
) -> None:
    """Show the paths that a client tries, certificate by certificate, and the rule that ends each, with its source.

    The verdict is that of `check` on all chains that are presented; what was not judged is said.

    Exit code: 0 where it accepts, 2 where it refuses, 3 where it cannot be told.
    """
    from monitor.commands.why import WhyQuery
    from monitor.commands.why import why as tell

    raise typer.Exit(tell(WhyQuery(client, target, config, timeout, as_json)))


@app.command(rich_help_panel=Panel.WATCH)
def discover(
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write a configuration to this new file.")
    ] = None,
    only: Annotated[
        list[int], typer.Option("--port", metavar="PORT", help="Look at this port alone; repeatable.")
    ] = [],  # noqa: B006
    skipped: Annotated[
        list[int], typer.Option("--skip-port", metavar="PORT", help="Leave a port out; repeatable.")
    ] = [],  # noqa: B006
    root: Annotated[
        str, typer.Option("--root", metavar="DIR", help="Read configuration and certificates beneath this directory.")
    ] = "/",
    timeout: Annotated[float, typer.Option(help="Seconds for each handshake.", min=0.1)] = 2.0,
    as_json: Json = False,
) -> None:
    """Find the ports, servers and certificates of this host, without a configuration; nothing is changed.

    Which file a port serves is proved by comparing. Exit code: 0, or 3 where a configuration could not be written.
    """
    from monitor.commands.discover import DiscoverQuery
    from monitor.commands.discover import discover as find
    from monitor.discover.survey import SurveyScope

    scope = SurveyScope(root, frozenset(only), frozenset(skipped), timeout)
    raise typer.Exit(find(DiscoverQuery(scope, out, as_json)))


@app.command(rich_help_panel=Panel.APPLIANCE)
def guide(
    topic: Annotated[
        str | None, typer.Argument(metavar="[TOPIC]", show_default=False, help="By default, list the topics.")
    ] = None,
    chain: Annotated[
        bool | None,
        typer.Option(
            "--chain/--no-chain", help="Whether intermediates are in use; by default as the installed files tell."
        ),
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as in a pipe.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Print a runbook with the files, names and commands of this host. Nothing is changed.

    Exit code: 0, or 3 where there is no such topic, or it does not apply to this host.
    """
    from monitor.commands.guide import GuideOptions
    from monitor.commands.guide import guide as show

    options = GuideOptions(config, DEFAULT_CONFIG, as_json, as_markdown, chain)
    raise typer.Exit(show(topic, options))


@app.command(rich_help_panel=Panel.APPLIANCE)
def export(
    machine: Annotated[Machine, typer.Argument(help="The machines that shall trust the roots.")],
    source: Annotated[str, typer.Argument(help="A trust store of the configuration, or a file, such as ./root.crt.")],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="The directory to write.")],
    others: Annotated[
        list[str],
        typer.Option(
            "--with", metavar="FILE", help="A file, component or group with intermediates to bring, too; repeatable."
        ),
    ] = [],  # noqa: B006
    sign_certificate: Annotated[
        str | None,
        typer.Option("--sign-certificate", metavar="FILE", help="Sign the profile of macOS with this and --sign-key."),
    ] = None,
    sign_key: Annotated[
        str | None, typer.Option("--sign-key", metavar="FILE", help="The private key for the signature.")
    ] = None,
    password_file: Annotated[
        str | None, typer.Option("--password-file", metavar="FILE", help="The password of that key.")
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Write a directory that brings roots to other machines: certificates, scripts, and a runbook. No key is in it.

    An existing file is never overwritten with another content. Exit code: 0, or 3 where nothing was written.
    """
    from monitor.commands.export import KitOptions
    from monitor.commands.export import export as write

    options = KitOptions(out, config, DEFAULT_CONFIG, tuple(others), sign_certificate, sign_key, password_file, as_json)
    raise typer.Exit(write(machine, source, options))


@app.command(rich_help_panel=Panel.APPLIANCE)
def init(
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="A shipped profile; without it, as `discover` finds."),
    ] = None,
    given: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the profile; several ports by commas."),
    ] = [],  # noqa: B006
    root: Annotated[
        str | None, typer.Option("--root", metavar="DIR", help="The directory before every path of the host.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write this new file, not standard output.")
    ] = None,
    without_files: Annotated[
        bool, typer.Option("--without-files", help="Write it also where none of its files is on this host.")
    ] = False,
) -> None:
    """Write a configuration from what is on this host. What it does not show is asked for, or given by --set.

    Without a profile it is what `certvigil discover --out` writes. Nothing is overwritten. Exit code: 0, or 3 where a
    parameter is missing or nothing was written.
    """
    if profile is None:
        from monitor.commands.discover import begin

        raise typer.Exit(begin(root, out, of_profile=bool(given) or without_files))
    from monitor.commands.init import init as write

    raise typer.Exit(write(profile, given, root, out, without_files=without_files))


@app.command(rich_help_panel=Panel.DAEMON)
def doctor(
    config: ConfigPath = DEFAULT_CONFIG,
    socket: Annotated[
        str | None, typer.Option("--socket", help="The daemon's Unix socket; by default that of the configuration.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check whether certvigil can do its work here: users, permissions, trust stores, commands, channels, clock, actor.

    Each line says what to do. Exit code: 0, or 1 where one of them is a problem.
    """
    from monitor.commands.doctor import doctor as examine

    raise typer.Exit(examine(config, socket, as_json=as_json))


@app.command(rich_help_panel=Panel.DAEMON)
def reload(socket: Socket = DEFAULT_SOCKET) -> None:
    """Have the daemon read its configuration again. If it has mistakes, print them; the old one stays in force."""
    from monitor.commands.reload import reload as ask

    raise typer.Exit(ask(socket))


ComponentsArgument = Annotated[
    list[str],
    typer.Argument(metavar="COMPONENT...", help="Or groups, which stand for their members. All are changed, or none."),
]
OneComponent = Annotated[str, typer.Argument(help="Or a group, whose members are changed as one.")]
AllowShorter = Annotated[
    bool, typer.Option("--allow-shorter", help="Accept a certificate that ends soon, if not within an hour (3600 s).")
]
Losses = Annotated[list[str], typer.Option("--lose", metavar="CLIENT", help="A client that may be lost; repeatable.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and its hash; touch nothing.")]
BoundTo = Annotated[str, typer.Option("--plan", metavar="HASH", help="Act only if this is still the plan.")]
PlanArgument = Annotated[str, typer.Argument(metavar="PLAN", help="The hash of a waiting plan, or its first digits.")]


@app.command(rich_help_panel=Panel.DAEMON)
def actor(
    config: ConfigPath = DEFAULT_CONFIG,
    log_format: Annotated[LogFormat, typer.Option(help="The format of log lines.")] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help="The lowest level of lines that are written.")] = LogLevel.INFO,
) -> None:
    """Run the actor in the foreground: the privileged process that changes components when asked by those who may."""
    from monitor.commands.run import run_actor as start

    raise typer.Exit(start(config, log_format, log_level))


@app.command(rich_help_panel=Panel.ACT)
def plan(
    components: ComponentsArgument,
    losses: Losses = [],  # noqa: B006 (typer copies it)
    allow_shorter: AllowShorter = False,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show the plan for the candidate in the inbox, or why there is no plan. Exit codes as of `replace`."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import replace as act

    options = ActOptions(config, dry_run=True, as_json=as_json, allow_shorter=allow_shorter)
    raise typer.Exit(act(components, [], None, losses, options))


@app.command(rich_help_panel=Panel.ACT)
def replace(
    components: ComponentsArgument,
    files: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="FILE",
            help="A file with certificate, chain or key: PEM, DER, PKCS#7, PKCS#12, JKS; repeatable. Else the inbox.",
        ),
    ] = [],  # noqa: B006
    password_file: Annotated[
        str | None, typer.Option("--password-file", help="The password of encrypted keys.")
    ] = None,
    losses: Losses = [],  # noqa: B006
    allow_shorter: AllowShorter = False,
    key_compromised: Annotated[
        bool, typer.Option("--key-compromised", help="Give up the keys in use for ever, even if the replacement fails.")
    ] = False,
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Replace the certificate of components in a transaction. Handshakes verify it, and it is undone if they fail.

    Exit code: 0 committed, or nothing to do; 1 refused, and no file was touched; 2 rolled back, superseded or failed
    forward; 3 frozen; 4 the request or the state is unusable.
    """
    from monitor.commands.act import ActOptions
    from monitor.commands.act import replace as act

    options = ActOptions(config, dry_run, plan, as_json, allow_shorter=allow_shorter)
    raise typer.Exit(act(components, files, password_file, losses, options, key_compromised=key_compromised))


@app.command(rich_help_panel=Panel.ACT)
def activate(
    components: ComponentsArgument,
    losses: Losses = [],  # noqa: B006
    allow_shorter: AllowShorter = False,
    force: Annotated[
        bool, typer.Option("--force", help="Reload or restart also a service that serves what is on disk already.")
    ] = False,
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Have services load their files from disk, after the checks of `replace`. Exit codes as of `replace`.

    Nothing is done where the set on disk is served already.
    """
    from monitor.commands.act import ActOptions
    from monitor.commands.act import activate as act

    options = ActOptions(config, dry_run, plan, as_json, allow_shorter=allow_shorter, force=force)
    raise typer.Exit(act(components, losses, options))


@app.command(rich_help_panel=Panel.ACT)
def rollback(
    component: OneComponent,
    to: Annotated[str | None, typer.Option("--to", metavar="SET", help="A backup set; by default the last.")] = None,
    losses: Losses = [],  # noqa: B006
    allow_shorter: AllowShorter = False,
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Put the files of a backup set back in place, in a transaction. Exit codes as of `replace`."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import rollback as act

    options = ActOptions(config, dry_run, plan, as_json, allow_shorter=allow_shorter)
    raise typer.Exit(act(component, to, losses, options))


@app.command("reset-to-default", rich_help_panel=Panel.ACT)
def reset_to_default(
    component: OneComponent,
    losses: Losses = [],  # noqa: B006
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Put back the files of a component from before certvigil's first change. Exit codes as of `replace`."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import reset_to_default as act

    raise typer.Exit(act(component, losses, ActOptions(config, dry_run, plan, as_json)))


@app.command(rich_help_panel=Panel.ACT)
def approve(
    plan: PlanArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end. Exit codes as of `replace`.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Approve a waiting plan. It is carried out as it is, if that is possible before the approval ends."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import approve as act

    raise typer.Exit(act(plan, ActOptions(config, as_json=as_json), wait=wait))


@app.command(rich_help_panel=Panel.ACT)
def reject(
    plan: PlanArgument,
    why: Annotated[str, typer.Option("--why", help="The reason, for the audit.")] = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Reject a waiting plan. It is not carried out, and not proposed again."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import reject as act

    raise typer.Exit(act(plan, why, ActOptions(config, as_json=as_json)))


@app.command(rich_help_panel=Panel.ACT)
def recover(
    thaw: Annotated[
        list[str], typer.Option("--thaw", metavar="COMPONENT", help="A frozen component that is in order now.")
    ] = [],  # noqa: B006
    release: Annotated[
        str, typer.Option("--release", metavar="CANDIDATE", help="A candidate in quarantine, to be tried again.")
    ] = "",
    reinstate: Annotated[
        str,
        typer.Option("--reinstate-key", metavar="KEY", help="A key that was given up by mistake, by its spki_sha256."),
    ] = "",
    services_run: Annotated[
        bool, typer.Option("--services/--no-services", help="Whether services run, and are put right, too.")
    ] = True,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Finish or undo each transaction that a crash interrupted. A second run changes nothing."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import recover as act

    raise typer.Exit(act(thaw, release, reinstate, ActOptions(config, as_json=as_json), services_run=services_run))


@app.command(rich_help_panel=Panel.ACT)
def audit(
    components: Annotated[
        list[str],
        typer.Argument(
            metavar="[COMPONENT...]", show_default=False, help="Only these, or groups; patterns with * and ?."
        ),
    ] = [],  # noqa: B006
    who: Annotated[
        list[str], typer.Option("--who", metavar="NAME", help="Only requests, approvals and rejections by NAME.")
    ] = [],  # noqa: B006
    action: Annotated[
        list[str],
        typer.Option(
            "--action", metavar="ACTION", help="Such as replace, rollback, trust, csr, offer or recover; repeatable."
        ),
    ] = [],  # noqa: B006
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="The begin: so long ago, such as 12h, or a time.")
    ] = None,
    until: Until = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Print all records, one in each line.")] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check the chain of the audit. Where it is broken, say where, and exit with 2."),
    ] = False,
    holds: Annotated[
        str, typer.Option("--holds", metavar="SHA256", help="With --verify: an entry that the audit must have.")
    ] = "",
) -> None:
    """Show each request, its approval and its ending, from the actor's audit and journal."""
    from monitor.commands.audit import AuditQuery
    from monitor.commands.audit import audit as show
    from monitor.commands.audit import verify as check_chain

    if verify or holds:
        raise typer.Exit(check_chain(config, holds))
    raise typer.Exit(show(config, AuditQuery(tuple(components), tuple(who), tuple(action), since, until, as_json)))


@app.command(rich_help_panel=Panel.ACT)
def backups(
    component: Annotated[str | None, typer.Argument(help="Or a group.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List the backup sets for `rollback`."""
    from monitor.commands.act import ActOptions
    from monitor.commands.act import backups as show

    raise typer.Exit(show(component, ActOptions(config, as_json=as_json)))


@app.command(rich_help_panel=Panel.FILES)
def csr(
    component: Annotated[str | None, typer.Argument(help="Or a group.", show_default=False)] = None,
    names: Annotated[
        list[str], typer.Option("--name", metavar="NAME", help="One more DNS name or address; repeatable.")
    ] = [],  # noqa: B006
    key: Annotated[
        RequestKey | None, typer.Option("--key", help="The kind of the new key; by default as the installed key.")
    ] = None,
    installed: Annotated[bool, typer.Option("--installed-key", help="Use the installed key; no key is made.")] = False,
    subject: Annotated[
        str | None,
        typer.Option(metavar="SUBJECT", help="As in CN=www.example.com,O=Example; by default the first name as CN."),
    ] = None,
    days: Annotated[int, typer.Option(help="For so many days the request waits for its certificate.")] = 90,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="Write the request to a new file.")] = None,
    show_all: Annotated[bool, typer.Option("--list", help="List the requests that wait.")] = False,
    show: Annotated[
        str, typer.Option("--show", metavar="KEY", help="Print a request that waits again, by its key's first digits.")
    ] = "",
    cancel: Annotated[
        str, typer.Option("--cancel", metavar="KEY", help="Withdraw a request, and remove the key made for it.")
    ] = "",
    why: Annotated[str, typer.Option("--why", help="With --cancel: the reason, for the audit.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Describe the request; make nothing.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Make a request for a certificate (PKCS#10), with the names that clients connect by. The key stays on this host.

    Its certificate is put into the inbox, offered or given to `replace` without a key: it finds its request by itself.
    Exit code: 0 done; 4 the request makes no sense, or nothing could be made.
    """
    from monitor.commands.csr import CsrQuery
    from monitor.commands.csr import csr as act

    query = CsrQuery(component, tuple(names), key, installed, subject, days, dry_run)
    raise typer.Exit(
        act(query, out=out, show_all=show_all, show=show, cancel=cancel, why=why, config=config, as_json=as_json)
    )


@app.command(rich_help_panel=Panel.FILES)
def offer(
    component: Annotated[str | None, typer.Argument(help="Or a group.", show_default=False)] = None,
    files: Annotated[
        list[str], typer.Argument(metavar="[FILE...]", help="Certificates: PEM, DER or PKCS#7.", show_default=False)
    ] = [],  # noqa: B006
    show_all: Annotated[bool, typer.Option("--list", help="List the offers that lie there.")] = False,
    withdraw: Annotated[
        str, typer.Option("--withdraw", metavar="NAME", help="Take out an offer, by the first digits of its name.")
    ] = "",
    why: Annotated[str, typer.Option("--why", help="With --withdraw: the reason, for the audit.")] = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Offer certificates, as a user who may ask the actor. A private key is refused.

    The offer is carried out where it answers a request that waits, or once a person approves it. An operator may take
    out any offer, others their own. Exit code: 0 taken, or done; 4 not.
    """
    from monitor.commands.offer import offer as act

    raise typer.Exit(
        act(component, files, show_all=show_all, withdraw=withdraw, why=why, config=config, as_json=as_json)
    )


@ca_app.command("init")
def ca_init(
    directory: Annotated[str, typer.Argument(help="A new directory.")],
    name: Annotated[str, typer.Option("--name", help="The name of the CA.")],
    days: Annotated[int, typer.Option(help="For so many days the root lasts.")] = 3650,
    permitted: Annotated[
        list[str],
        typer.Option("--permit", metavar="DOMAIN", help="A domain or network that it may sign for; repeatable."),
    ] = [],  # noqa: B006
    key: Annotated[RequestKey, typer.Option("--key", help="The kind of its key.")] = RequestKey.P256,
) -> None:
    """Make a root, with its key in a file of mode 0600. It signs servers' certificates, and no other CA's."""
    from monitor.commands.ca import init

    raise typer.Exit(init(directory, name, days, permitted, key))


@ca_app.command("sign")
def ca_sign(
    request: Annotated[str, typer.Argument(help="A request (PKCS#10); - for standard input.")],
    directory: Annotated[str, typer.Option("--ca", metavar="DIRECTORY", help="The directory of `ca init`.")],
    days: Annotated[int, typer.Option(help="For so many days the certificate lasts, at most 200.")] = 180,
    longer: Annotated[bool, typer.Option("--longer", help="Allow more than 200 days.")] = False,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="Write it to a new file.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking.")] = False,
) -> None:
    """Sign a request: show its names, ask, and print a server's certificate. It takes no extension of the request.

    Exit code: 0 signed; 1 a person did not agree; 4 the request is not signed.
    """
    from monitor.commands.ca import sign_request

    raise typer.Exit(sign_request(request, directory, days, out, longer=longer, yes=yes))


@app.command(rich_help_panel=Panel.FILES)
def rotate(
    new: Annotated[
        str | None,
        typer.Argument(metavar="[NEW-ROOT]", show_default=False, help="The file of the new root; else as declared."),
    ] = None,
    old: Annotated[
        list[str],
        typer.Option("--old", metavar="FILE", help="A root that is to go; repeatable. Else those in use now."),
    ] = [],  # noqa: B006
    timeout: Annotated[float, typer.Option(help="Seconds for each endpoint.", min=0.1)] = 5.0,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Show the order in which a root is changed without losing a client, and how far it is. Nothing is changed.

    Exit code: 0 all steps are done; 1 steps are left; 3 the steps cannot be told.
    """
    from monitor.commands.rotate import RotateQuery
    from monitor.commands.rotate import rotate as show

    raise typer.Exit(show(RotateQuery(new, tuple(old), config, timeout, as_json)))


StoreArgument = Annotated[str, typer.Argument(metavar="STORE", help="A trust store of the configuration.")]


@trust_app.command("list")
def trust_list(
    store: Annotated[str | None, typer.Argument(metavar="[STORE]", show_default=False, help="Its entries.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """List the trust stores, or the entries of one: aliases, ends, SHA-256. Java is not needed."""
    from monitor.commands.trust import list_stores

    raise typer.Exit(list_stores(store, config, as_json=as_json))


@trust_app.command("add")
def trust_add(
    store: StoreArgument,
    files: Annotated[
        list[str], typer.Option("--from", metavar="FILE", help="Roots and intermediates: PEM, DER, PKCS#7; repeatable.")
    ],
    sha256: Annotated[
        list[str],
        typer.Option("--sha256", metavar="SHA256", help="Take this certificate and no other; repeatable."),
    ] = [],  # noqa: B006
    alias: Annotated[str, typer.Option("--alias", help="In a keystore; by default it is made of the subject.")] = "",
    losses: Losses = [],  # noqa: B006
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Trust certificates: put them into a trust store, with its service stopped or restarted as configured.

    A certificate that is there already stays as it is. Exit codes as of `replace`.
    """
    from monitor.commands.act import ActOptions
    from monitor.commands.trust import add

    raise typer.Exit(add(store, files, sha256, alias, losses, ActOptions(config, dry_run, plan, as_json)))


@trust_app.command("remove")
def trust_remove(
    store: StoreArgument,
    entry: Annotated[str, typer.Argument(metavar="ALIAS|SHA256", help="An alias, or 8 digits of a SHA-256 or more.")],
    losses: Losses = [],  # noqa: B006
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Trust a certificate no longer. A client that would be locked out must be named by --lose.

    Exit codes as of `replace`.
    """
    from monitor.commands.act import ActOptions
    from monitor.commands.trust import remove

    raise typer.Exit(remove(store, entry, losses, ActOptions(config, dry_run, plan, as_json)))


@trust_app.command("restore")
def trust_restore(
    store: StoreArgument,
    to: Annotated[str | None, typer.Option("--to", metavar="SET", help="A backup set; by default the last.")] = None,
    losses: Losses = [],  # noqa: B006
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Put a trust store back as a backup set has it; `certvigil backups STORE` lists these sets."""
    from monitor.commands.act import ActOptions
    from monitor.commands.trust import restore

    raise typer.Exit(restore(store, to, losses, ActOptions(config, dry_run, plan, as_json)))


@trust_app.command("confirm")
def trust_confirm(
    store: StoreArgument,
    root: Annotated[str, typer.Option("--root", metavar="SHA256|FILE", help="The root: its whole SHA-256, or a file.")],
    removed: Annotated[bool, typer.Option("--removed", help="It does not have that root.")] = False,
    why: Annotated[str, typer.Option("--why", help="For the record, such as where you looked.")] = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Say what you saw in a trust store of other machines (`elsewhere`): it has a root. The journal has who and when.

    Exit code: 0 recorded; 4 not recorded.
    """
    from monitor.commands.act import ActOptions
    from monitor.commands.rotate import confirm

    raise typer.Exit(confirm(store, root, why, ActOptions(config, as_json=as_json), has=not removed))


@trust_app.command("password")
def trust_password(
    store: StoreArgument,
    new_password_file: Annotated[
        str, typer.Option("--new-password-file", metavar="FILE", help="A file with the new password.")
    ],
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Give a keystore another password, unless a package owns the keystore. Exit codes as of `replace`."""
    from monitor.commands.act import ActOptions
    from monitor.commands.trust import password

    raise typer.Exit(password(store, new_password_file, ActOptions(config, dry_run, plan, as_json)))


OneClient = Annotated[str, typer.Argument(metavar="CLIENT", help="A client with a `validation_switch`.")]


@trust_app.command("enforce")
def trust_enforce(
    client: OneClient,
    losses: Losses = [],  # noqa: B006
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Have a client validate certificates, by the line of its own configuration. Exit codes as of `replace`.

    A client that would then reject one of its servers must be named by --lose.
    """
    from monitor.commands.act import ActOptions
    from monitor.commands.trust import validation

    raise typer.Exit(validation(client, losses, ActOptions(config, dry_run, plan, as_json), validates=True))


@trust_app.command("relax")
def trust_relax(
    client: OneClient,
    dry_run: DryRun = False,
    plan: BoundTo = "",
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Have a client no longer validate certificates: then it accepts everybody. Exit codes as of `replace`."""
    from monitor.commands.act import ActOptions
    from monitor.commands.trust import validation

    raise typer.Exit(validation(client, [], ActOptions(config, dry_run, plan, as_json), validates=False))


@trust_app.command("export")
def trust_export(
    store: StoreArgument,
    entries: Annotated[
        list[str],
        typer.Option("--entry", metavar="ALIAS|SHA256", help="Only this certificate; repeatable. Else all of them."),
    ] = [],  # noqa: B006
    form: Annotated[ExportFormat, typer.Option("--format", help="The format.")] = ExportFormat.PEM,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="A new file; by default standard output.")
    ] = None,
    password_file: Annotated[
        str | None, typer.Option("--password-file", metavar="FILE", help="The password of the PKCS#12 keystore.")
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Export trusted certificates as PEM, DER or PKCS#12, for another machine."""
    from monitor.commands.trust import ExportOptions, export

    raise typer.Exit(export(store, config, ExportOptions(tuple(entries), form, out, password_file)))


@app.command("json-schema", rich_help_panel=Panel.DAEMON)
def json_schema(
    command: Annotated[
        str, typer.Argument(help="A command, such as 'check', 'plan' or 'notify show'. By default, list all.")
    ] = "",
) -> None:
    """Print the JSON Schema of a command's output with --json."""
    from monitor.commands.json_schema import json_schema as show

    raise typer.Exit(show(command))


ConfigArgument = Annotated[
    str | None, typer.Argument(metavar="[PATH]", show_default=False, help="The configuration, as with --config.")
]


def _configuration(argument: str | None, option: str) -> str:
    """Return the configuration that is given as an argument or as an option, but not as two."""
    if argument is not None and option not in {DEFAULT_CONFIG, argument}:
        raise typer.BadParameter(f"two configurations, {argument} and {option}: name one, with --config")
    return option if argument is None else argument


@config_app.command("check")
def config_check(path: ConfigArgument = None, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Report each mistake in a configuration with file, line and key. Exit code: 0 without mistakes, else 1."""
    from monitor.commands.config import check as run_check

    raise typer.Exit(run_check(_configuration(path, config)))


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from monitor.commands.config import schema

    raise typer.Exit(schema())


@config_app.command("show")
def config_show(path: ConfigArgument = None, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Print the effective configuration: with the profile and all defaults, and without secrets."""
    from monitor.commands.config import show

    raise typer.Exit(show(_configuration(path, config)))


@config_app.command("units")
def config_units(
    path: ConfigArgument = None,
    config: ConfigPath = DEFAULT_CONFIG,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Write them below this directory, such as /etc.")
    ] = None,
) -> None:
    """Print the systemd units of daemon, actor and recovery, with their users and directories."""
    from monitor.commands.units import units

    raise typer.Exit(units(_configuration(path, config), out))


@notify_app.command("test")
def notify_test(
    channels: Annotated[list[str], typer.Argument(metavar="[CHANNEL...]", show_default=False)] = [],  # noqa: B006
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Json = False,
) -> None:
    """Send a test message to channels, by default to all; no daemon is needed. Exit code: 0 all took it, else 1."""
    from monitor.commands.notify import test

    raise typer.Exit(test(channels, config, as_json=as_json))


@notify_app.command("show")
def notify_show(socket: Socket = DEFAULT_SOCKET, as_json: Json = False) -> None:
    """Show the problems that people were notified of, undelivered messages, and silences."""
    from monitor.commands.notify import show

    raise typer.Exit(show(socket, as_json=as_json))


@notify_app.command("acknowledge")
def notify_acknowledge(
    problem: Annotated[str, typer.Argument(help="The short name of the problem, from a message or `notify show`.")],
    lasting: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="For so long at most.")] = None,
    socket: Socket = DEFAULT_SOCKET,
) -> None:
    """Acknowledge a problem: nobody is notified of it again until it gets worse."""
    from monitor.commands.notify import acknowledge

    raise typer.Exit(acknowledge(problem, lasting, socket))


@notify_app.command("silence")
def notify_silence(
    lasting: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long, such as 2h.")],
    reason: Annotated[str, typer.Option(help="The reason, for other people.")],
    target: Annotated[list[str], typer.Option(help="A name, or a pattern with * and ?.")] = [],  # noqa: B006
    component: Annotated[list[str], typer.Option()] = [],  # noqa: B006
    finding: Annotated[list[str], typer.Option(help="A code.")] = [],  # noqa: B006
    socket: Socket = DEFAULT_SOCKET,
) -> None:
    """Silence some findings, or all, for some time: nobody is notified of them. They show everywhere else."""
    from monitor.commands.notify import silence

    wanted = {"target": target, "component": component, "finding": finding}
    raise typer.Exit(silence(wanted, lasting, reason, socket))


@notify_app.command("unsilence")
def notify_unsilence(silence: Annotated[str, typer.Argument(help="The id.")], socket: Socket = DEFAULT_SOCKET) -> None:
    """End a silence."""
    from monitor.commands.notify import unsilence

    raise typer.Exit(unsilence(silence, socket))


@notify_app.command("retry")
def notify_retry(channel: Annotated[str | None, typer.Argument()] = None, socket: Socket = DEFAULT_SOCKET) -> None:
    """Try again to deliver messages that were given up, to one channel or to all."""
    from monitor.commands.notify import settle_given_up

    raise typer.Exit(settle_given_up("retry", channel, socket))


@notify_app.command("drop")
def notify_drop(channel: Annotated[str | None, typer.Argument()] = None, socket: Socket = DEFAULT_SOCKET) -> None:
    """Drop the messages that were given up, to one channel or to all."""
    from monitor.commands.notify import settle_given_up

    raise typer.Exit(settle_given_up("drop", channel, socket))


State = Annotated[
    str | None,
    typer.Option("--state", metavar="FILE", help="Decide by the situations in this file, as --json prints them."),
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
    """Show the decision of each policy about a target: which checks hold since when, and the next step."""
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
            help="Assume certificates that begin then and last so long, such as 47d; by default, the installed ones.",
        ),
    ] = None,
    state: State = None,
    candidates: Annotated[
        bool, typer.Option("--assume-candidates", help="Assume that a candidate arrives once a decision waits for it.")
    ] = False,
    approvals: Annotated[
        bool, typer.Option("--assume-approvals", help="Assume that a plan is approved once it waits for approval.")
    ] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    socket: Socket = DEFAULT_SOCKET,
    as_json: Json = False,
) -> None:
    """Show future decisions and messages on a timeline, if only the time changes and each action succeeds."""
    from monitor.commands.policy import Source, Span, test
    from monitor.decide.simulate import Assumptions

    assumptions = Assumptions(candidates, approvals)
    raise typer.Exit(test(Span(at, days, lifetime), assumptions, Source(config, state, socket), as_json=as_json))
