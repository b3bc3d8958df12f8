"""The page of runbooks: the topics that are shipped, and the language for topics of a site."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Final

from config import profile
from config.guide import read
from config.schema.guide import ParagraphSection, ProofSection, StepSection, TopicSection
from config.schema.problem import schema_of
from docs.generate.markdown import code, table
from docs.generate.markdown import page as whole_page
from monitor.guide import facts

INTRODUCTION: Final = """A runbook says how a person does something by hand, with the names of this host:

```console
$ certvigil guide
$ certvigil guide replace
$ certvigil guide replace --markdown > replace.md
```

Without a topic, `certvigil guide` lists the topics that apply to this host, and says of others why they do not. A topic
has only the steps that apply. A step with a check box is a question that nothing on the host answers. The last section
of a topic has the commands that prove the result, with their exit codes and outputs. Nothing is changed by
`certvigil guide`.

A plan names the topic of its component (`guide`), and before the first replacement also what must have
been done (`do_first`). The message about a plan that waits for approval names the topic, too.

`certvigil export windows` and `certvigil export macos` write a directory for other machines. It has the roots of a
trust store as PEM and DER, scripts or a configuration profile, the values to compare, and the topic about these
machines:

```console
# certvigil export windows outsiders --out /root/windows-root --with portal
# certvigil export macos ./root.crt --out /root/macos-root --sign-certificate signer.pem --sign-key signer.key
```

No private key is ever in it. The same certificates give the same bytes, a signature aside. A file that is there with
another content is not overwritten."""

_LANGUAGE: Final = """A file `NAME.yaml` in the directory `guides` of the configuration is the topic `NAME`. It
takes the place of a shipped topic of that name. A file that its group or others may write is refused.

```text
title: Replace the certificate of the shop
place: 5
steps:
  - ask: The change is announced.
  - Log in to the console at ${shop.url}, and click **Certificates**.
  - do: Restart the shop.
    sh: sudo ${shop.restart}
proof:
  - for_each: {at: shop.checks}
    certvigil: ["${at.check}"]
    exit: 0
    prints: [ok]
    means: ${at.clients} accept ${at.address}.
```

In sentences, `**NAME**` is a menu, a button or a field, and a text in backticks is literal. `${FACT}` is a fact of this
host. In a sentence it is literal text, in `sh` one word (a command is several), in `powershell` a string in single
quotes: so nothing in a fact is ever carried out. A part that names an unknown fact is left out, and that is said."""


def page() -> str:
    """Return the page."""
    return whole_page("Runbooks", INTRODUCTION, _lines())


def _lines() -> Iterator[str]:
    for name in profile.shipped():
        yield f"## Topics of the profile {name}"
        yield ""
        topics = read(name, None).topics.items()
        rows = [(code(topic), each.section.title, _applies(each.section)) for topic, each in topics]
        yield from table(("topic", "title", "applies where"), rows)
        yield ""
    yield "## Topics of your own"
    yield ""
    yield _LANGUAGE
    for title, section in (
        ("A topic", TopicSection),
        ("A paragraph of `about`", ParagraphSection),
        ("A step", StepSection),
        ("A proof", ProofSection),
    ):
        yield ""
        yield f"### {title}"
        yield ""
        properties = schema_of(section)["properties"]
        yield from table(("key", "meaning"), [(code(key), each["description"]) for key, each in properties.items()])
    yield ""
    yield "### Facts"
    yield ""
    yield from (line for line in inspect.cleandoc(facts.__doc__ or "").splitlines() if line.startswith("|"))


def _applies(section: TopicSection) -> str:
    conditions = [f"{code(name)} is {' or '.join(values)}" for name, values in section.when.items()]
    conditions += [f"{code(name)} is known" for name in section.needs]
    return " and ".join(conditions) or "everywhere"
