"""Replacing, rolling back and activating on a real nginx, from the command line."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.actor.authority import STRANGER
from monitor.actor.request import Document
from monitor.commands import act, app
from monitor.lab.ca import Authority, KeyType, new_key
from monitor.lab.process import find_command
from monitor.lab.servers import write_site
from tests.kit.authority import ISSUING, NAME, fresh
from tests.kit.component import NOT_FROZEN
from tests.kit.daemon import certvigil
from tests.kit.openssl_client import presented
from tests.kit.web import WebComponent, web

__all__ = ["web"]

pytestmark = pytest.mark.server("nginx")


def test_a_candidate_in_disorder_is_replaced_verified_and_rolled_back(web: WebComponent) -> None:
    before, new = web.on_disk(), fresh()
    code, said = web.act("replace", "web", *web.candidate(new), "--dry-run")
    assert code == 0, said
    assert "browser at web/" in said
    assert web.on_disk() == before

    code, said = web.act("replace", "web", *web.candidate(new))
    assert code == 0, said
    assert "committed" in said
    assert presented(web.server)[0] == new.der()
    assert os.stat(web.site.key).st_mode & 0o777 == 0o600
    assert web.beside() == set()

    code, said = web.act("backups", "web")
    assert code == 0, said
    assert "default" in said
    code, said = web.act("rollback", "web")
    assert code == 0, said
    assert web.on_disk() == before
    assert presented(web.server)[0] == web.old.der()


def test_where_nothing_is_to_be_done_that_is_said_and_is_no_failure(web: WebComponent) -> None:
    options = web.candidate(fresh())
    assert web.act("replace", "web", *options)[0] == 0
    code, said = web.act("replace", "web", *options)
    assert (code, "nothing to do" in said, "refused" in said) == (0, True, False), said
    assert web.act("reset-to-default", "web")[0] == 0
    before = web.on_disk()
    code, said = web.act("reset-to-default", "web")
    assert code == 0, said
    assert "nothing to do: the files are those of the backup set already" in said
    assert web.on_disk() == before


def test_steps_are_shown_as_they_come_and_kept_from_what_a_script_reads(web: WebComponent) -> None:
    ran = certvigil("replace", "web", *web.candidate(fresh()), "--config", web.config)
    assert ran.returncode == 0, ran.stderr
    for step in ("copied the old files aside", "switched a file", "every endpoint serves the new chain", "committed"):
        assert step in ran.stderr
        assert f"s  {step}" not in ran.stdout
    assert "plan       replace of web" in ran.stdout
    quiet = certvigil("rollback", "web", "--json", "--config", web.config)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert json.loads(quiet.stdout)["endings"][0]["outcome"] == "committed"


def test_a_certificate_without_a_key_takes_the_installed_one_and_the_plan_says_so(web: WebComponent) -> None:
    renewed = ISSUING.issue(NAME, key=web.old.key)
    file = web.directory / "renewed.pem"
    file.write_bytes(renewed.chain_pem())
    code, said = web.act("replace", "web", "--from", str(file), "--dry-run")
    assert code == 0, said
    assert "no private key was given: the installed one, to which the certificate belongs, is used again" in said
    assert web.act("replace", "web", "--from", str(file))[0] == 0
    assert presented(web.server)[0] == renewed.der()


def test_an_approved_plan_is_carried_out_only_while_it_is_the_same(web: WebComponent) -> None:
    options = web.candidate(fresh())
    code, said = web.act("replace", "web", *options, "--dry-run", "--json")
    plan = json.loads(said)["plan"]["hash"]
    before = web.on_disk()
    web.candidate(fresh())
    code, said = web.act("replace", "web", *options, "--plan", plan)
    assert code == 4, said
    assert web.on_disk() == before


def test_a_candidate_that_a_client_would_reject_is_refused_before_anything_is_touched(web: WebComponent) -> None:
    before = web.on_disk()
    stranger = Authority.root("Stranger").issue(NAME, key=new_key(KeyType.P256))
    code, said = web.act("replace", "web", *web.candidate(stranger))
    assert code == 1, said
    assert said.count("refused ") == 1, "the same gap is told once"
    assert "incomplete_chain" in said
    assert web.on_disk() == before


def test_a_reload_that_lies_is_found_out_and_undone(web: WebComponent) -> None:
    """The command exits with 0, and the old certificate is still served: exit codes prove nothing."""
    web.declare(reload=["/bin/true"], restart=["/bin/true"])
    before = web.on_disk()
    code, said = web.act("replace", "web", *web.candidate(fresh()))
    assert code == 2, said
    assert "rolled_back" in said
    assert "not served" in said
    assert web.on_disk() == before
    assert presented(web.server)[0] == web.old.der()
    assert web.beside() == set()


def test_what_an_administrator_put_on_disk_is_activated_only_if_it_is_whole(web: WebComponent) -> None:
    new = fresh()
    Path(web.site.certificate).write_bytes(new.chain_pem())
    code, said = web.act("activate", "web")
    assert code == 1, said
    assert presented(web.server)[0] == web.old.der()
    Path(web.site.key).write_bytes(new.key_pem())
    code, said = web.act("activate", "web")
    assert code == 0, said
    assert presented(web.server)[0] == new.der()


def test_a_service_that_serves_what_is_on_disk_is_left_alone_unless_that_is_asked_for(web: WebComponent) -> None:
    nginx = " ".join([str(find_command("nginx")), *web.server.test_command[1:-1]])
    reloads = web.directory / "reloads"
    web.declare(reload=["/bin/sh", "-c", f"echo once >>{reloads}; exec {nginx} -s reload"])
    for given in ((), ("--dry-run",)):
        code, said = web.act("activate", "web", *given)
        assert (code, said.splitlines()[0]) == (0, "unchanged  nothing to do: the set on disk is served already")
    assert not reloads.exists()
    code, said = web.act("activate", "web", "--force", "--dry-run")
    assert (code, "nothing to do" in said) == (0, False), said
    code, said = web.act("activate", "web", "--force")
    assert code == 0, said
    assert reloads.read_text() == "once\n"
    web.server.stop()
    code, said = web.act("activate", "web", "--dry-run")
    assert "served already" not in said, "an endpoint that does not answer serves nothing"


@pytest.fixture
def mounted(web: WebComponent) -> Iterator[WebComponent]:
    """Have each file of the component be a mount point, as where a container is given single files."""
    with ExitStack() as unmount:
        for path in web.on_disk():
            given = web.directory / f"given-{os.path.basename(path)}"
            shutil.copy2(path, given)
            if subprocess.run(["mount", "--bind", given, path], capture_output=True, check=False).returncode:
                pytest.skip("mounting is not allowed here")
            unmount.callback(subprocess.run, ["umount", path], check=True)
        yield web


def test_a_mounted_file_is_refused_with_the_setting_that_helps_and_then_written_over(mounted: WebComponent) -> None:
    before, new = mounted.on_disk(), fresh()
    code, said = mounted.act("replace", "web", *mounted.candidate(new))
    assert code == 1, said
    assert "site.crt is a mount point, which nothing can be renamed onto: set `write_mode: in_place`" in said
    assert mounted.on_disk() == before

    mounted.declare(write_mode="in_place")
    code, said = mounted.act("replace", "web", *mounted.candidate(new))
    assert code == 0, said
    assert (mounted.directory / "given-site.key").read_bytes() == new.key_pem()
    assert presented(mounted.server)[0] == new.der()

    mounted.declare(write_mode="in_place", reload=["/bin/true"], restart=["/bin/true"])
    code, said = mounted.act("replace", "web", *mounted.candidate(fresh()))
    assert code == 2, said
    assert (mounted.directory / "given-site.crt").read_bytes() == new.chain_pem()


@pytest.mark.parametrize("linked", [False, True], ids=["files", "links into the archive"])
def test_a_dry_run_refuses_what_the_run_would_refuse(web: WebComponent, linked: bool) -> None:
    """As a lineage of certbot, into which nobody else should write."""
    live = web.directory / "letsencrypt" / "live" / "www.example.com"
    (web.directory / "letsencrypt" / "renewal").mkdir(parents=True)
    (web.directory / "letsencrypt" / "renewal" / "www.example.com.conf").write_text("")
    web.site = write_site(str(live), web.old)
    if linked:
        archive = web.directory / "letsencrypt" / "archive" / "www.example.com"
        archive.mkdir(parents=True)
        for path in (Path(web.site.certificate), Path(web.site.key)):
            path.rename(archive / path.name)
            path.symlink_to(archive / path.name)
    web.declare()
    options = web.candidate(fresh())
    for arguments in (("--dry-run",), ()):
        code, said = web.act("replace", "web", *options, *arguments)
        assert code == 1, said
        assert "belongs to certbot, which would undo the change: give the service a copy by a deploy hook" in said


def test_a_backup_set_is_named_to_go_back_further_than_the_last_change(web: WebComponent) -> None:
    first = web.on_disk()
    for _ in range(2):
        assert web.act("replace", "web", *web.candidate(fresh()))[0] == 0
    sets = json.loads(certvigil("backups", "web", "--json", "--config", web.config).stdout)["sets"]
    code, said = web.act("rollback", "web", "--to", sets[0]["set"])
    assert code == 0, said
    assert web.on_disk() == first


def test_a_candidate_at_fault_is_in_quarantine_until_it_is_released(web: WebComponent) -> None:
    kept = web.directory / "kept.crt"
    kept.write_bytes(Path(web.site.certificate).read_bytes())
    web.declare(test=["/bin/sh", "-c", f"cmp -s {web.site.certificate} {kept}"])
    options = web.candidate(fresh())
    code, said = web.act("replace", "web", *options)
    assert (code, "rolled_back" in said) == (2, True), said
    code, said = web.act("replace", "web", *options, "--dry-run")
    assert (code, "quarantined: this candidate is in quarantine" in said) == (1, True), said
    held = json.loads(certvigil("recover", "--json", "--config", web.config).stdout)["quarantined"]
    (candidate,) = held
    said = web.act("recover")[1]
    assert f"candidate {candidate[:16]} is in quarantine: of web: " in said
    code, said = web.act("recover", "--thaw", "web")
    assert (code, said.splitlines()) == (0, [NOT_FROZEN])
    code, said = web.act("recover", "--release", candidate[:16])
    assert (code, said) == (0, f"released   candidate {candidate[:16]}: it may be tried again\n")
    web.declare()
    code, said = web.act("replace", "web", *options)
    assert (code, "committed" in said) == (0, True), said


def test_recovering_when_nothing_is_left_to_do_changes_nothing(web: WebComponent) -> None:
    before = web.on_disk()
    assert web.act("recover") == (0, "recovered  no transaction was interrupted, and nothing was changed\n")
    assert web.on_disk() == before


def test_a_plan_says_each_command_once_as_a_shell_takes_it_and_no_test_that_there_is_none(web: WebComponent) -> None:
    spaced = web.directory / "a test.sh"
    spaced.write_text("#!/bin/sh\n")
    spaced.chmod(0o755)
    web.declare(test=[str(spaced)])
    options = web.candidate(fresh())
    said = web.act("replace", "web", *options, "--dry-run")[1]
    assert said.count(f"web: '{spaced}'\n") == 1, said
    web.declare(test=None)
    code, said = web.act("replace", "web", *options)
    assert (code, "the command that activates the new files has ended" in said, "configuration test" in said) == (
        0,
        True,
        False,
    ), said
    assert "\twhich\tfiles" in web.act("backups")[1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("replace", "nothing", "--from", "/etc/hostname"), "there is no component 'nothing'; there are web"),
        (("replace", "web", "--from", "/nowhere.pem"), "/nowhere.pem cannot be read"),
        (("replace", "web", "--from", "/etc/hostname", "/etc/hosts"), "write --from before each file"),
        (("rollback", "web"), "there is no backup set of web"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(web: WebComponent, arguments: tuple[str, ...], reason: str) -> None:
    code, said = web.act(*arguments)
    assert code == 4
    assert reason in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("in_group", [False, True])
@pytest.mark.parametrize("verb", ["offer", "csr", "approve"])
def test_who_may_not_ask_the_actor_is_told_that_and_of_an_offer_the_other_way(
    verb: str, in_group: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, closed = tmp_path / "certvigil.yaml", tmp_path / "closed"
    made.write_text(
        f"""
        components: {{web: {{artefacts: {{certificate: {tmp_path}/web.crt}}}}}}
        channels: {{ops: {{urls_file: {closed}/ops.urls}}}}
        actor: {{socket: {tmp_path}/actor.sock, offered_directory: {tmp_path}/offered}}
        """
    )
    (tmp_path / "new.pem").write_bytes(fresh().chain_pem())

    def ask(path: str, *_: object, **__: object) -> Document:
        if in_group:
            return {"cannot": STRANGER}
        raise PermissionError(errno.EACCES, "you may not ask the actor: only root and members of its group may", path)

    monkeypatch.setattr(act, "ask", ask)
    arguments = {"offer": ["web", str(tmp_path / "new.pem")], "csr": ["web"], "approve": ["0123"]}[verb]
    ran = CliRunner().invoke(app, [verb, *arguments, "--config", str(made)])
    said = ran.output
    assert ran.exit_code == 4, said
    assert ("may ask the actor for nothing" if in_group else "you may not ask the actor") in said
    assert "ops.urls" not in said
    assert (f"as a file into {tmp_path}/offered/web instead" in said) is (verb == "offer")
