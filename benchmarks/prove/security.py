"""A broker with TLS, SCRAM and ACLs: the printed rights are enough, and whatever is missing is named within 30 s.

The chain runs as a user that has exactly the rights of `asmg topics print` and may create nothing. Then every way of
not being let in, and every right in turn: `asmg config check` and `asmg worker` end with 3 (or 2 for a file, 4 for a
wrong port) and say which. At last each right is taken away from a running worker, and the password file is replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from benchmarks.local_broker import SecuredBroker
from stream_app.live.training.window_status import read_window
from stream_app.synthetic import drifting_stream

PERIODS, COUNT, PRETRAIN = 6, 300, 2
VERSIONS = PERIODS - PRETRAIN + 1
LIMIT = 30.0
ROLES = ("worker", "producer", "subscriber")
Settings = dict[str, str]
OTHER_NAMES = {f"topics.{key}": f"other-{key}" for key in ("interactions", "segments", "models", "dead_letters")}
Acl = Mapping[str, Any]


def run() -> dict[str, Any]:
    """The chain, the matrix of refusals, and rights taken away; seconds of the slowest of each."""
    with tempfile.TemporaryDirectory() as name, SecuredBroker(Path(name, "broker")) as broker:
        folder = Path(name)
        right, mutual = entry(broker, folder), {**certified(broker), **OTHER_NAMES}
        printed, _ = prepared(broker, right, folder), prepared(broker, mutual, folder)
        served = {"SASL_SSL": chain(right, folder), "client certificate": chain(mutual, folder / "mutual")}
        refused = {cause: refusal(settings, folder, said) for cause, settings, said in refusals(broker, right)}
        missing = {}
        for acl in single(printed["rights"]["worker"]["acls"]):
            with without(broker, printed["principal"], acl):
                missing[text(acl)] = refusal(right, folder, f"may not {text(acl)} ")
        needed = single(printed["rights"]["worker"]["acls"])
        taken = {text(acl): taken_away(broker, right, folder, acl) for acl in needed}
        rotated = rotation(broker, right, folder)
    answers = [*refused.values(), *missing.values()]
    return {
        "versions_served": served,
        "refused": refused,
        "missing": missing,
        "taken_away": taken,
        "rotated": rotated,
        "bounds": {
            f"all {VERSIONS} versions are served with the printed rights": set(served.values()) == {VERSIONS},
            "every refusal is one line that names its cause": all(answer["named"] for answer in answers),
            f"within {LIMIT:.0f} s": all(answer["seconds"] <= LIMIT for answer in answers),
            "a right that is taken away ends the worker with its name": all(one["named"] for one in taken.values()),
            f"taken away, within {LIMIT:.0f} s": all(one["seconds"] <= LIMIT for one in taken.values()),
            "a password that is replaced is taken up": rotated,
        },
    }


def entry(broker: SecuredBroker, folder: Path) -> Settings:
    """How the user comes in."""
    (folder / "password").write_text(broker.password)
    return {
        "bootstrap": broker.listener("SASL_SSL"),
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "username": broker.user,
        "password_file": str(folder / "password"),
        "ca_file": str(broker.ca),
    }


def certified(broker: SecuredBroker) -> Settings:
    """How one comes in with a certificate."""
    files = {"certificate_file": str(broker.client), "key_file": str(broker.client_key), "ca_file": str(broker.ca)}
    return {"bootstrap": broker.listener("MTLS"), "security_protocol": "SSL", **files}


def prepared(broker: SecuredBroker, settings: Settings, folder: Path) -> dict[str, Any]:
    """What `topics print` tells the super user, who does it: topics made, rights granted."""
    names = {key: value for key, value in settings.items() if key in OTHER_NAMES}
    asmg({"bootstrap": broker.bootstrap, **names}, folder, "topics", "create")
    printed: dict[str, Any] = json.loads(asmg(settings, folder, "topics", "print", "--json").stdout)
    broker.grant(printed["principal"], [acl for role in ROLES for acl in printed["rights"][role]["acls"]])
    return printed


def refusals(broker: SecuredBroker, right: Settings) -> Iterator[tuple[str, Settings, str]]:
    """(cause, settings, what must be said)."""
    wrong = {**right, "password": "wrong"}
    del wrong["password_file"]
    mutual = {key: value for key, value in certified(broker).items() if key not in ("certificate_file", "key_file")}
    late = {"certificate_file": str(broker.expired_client), "key_file": str(broker.expired_client_key)}
    yield "wrong password", wrong, "does not take user 'asmg' with this password"
    yield "unknown user", {**right, "username": "nobody"}, "does not take user 'nobody'"
    yield "expired certificate", {**right, "bootstrap": broker.listener("EXPIRED")}, "certificate that has expired"
    yield (
        "wrong host name",
        {**right, "bootstrap": broker.listener("ELSEWHERE")},
        "for another host name",
    )
    yield "unknown authority", {**right, "ca_file": str(broker.other_ca)}, "of an authority that is not in"
    yield "no client certificate", mutual, "wants a client certificate"
    yield "expired client certificate", {**mutual, **late}, "has expired"
    yield "no TLS", {"bootstrap": right["bootstrap"]}, "another kafka.security_protocol than PLAINTEXT"
    yield "no such port", {**right, "bootstrap": "localhost:1"}, "localhost:1: Connection refused"


def chain(right: Settings, folder: Path) -> int:
    """The last version of a small stream that a subscriber serves."""
    rows = drifting_stream(PERIODS * COUNT + 7, users=60, items=40, seed=5)
    columns = {"user_id": rows.users, "item_id": rows.items, "label": rows.labels}
    seconds = rows.times.astype(np.float64) / 1e6
    folder.mkdir(exist_ok=True)
    recording = folder / "stream.parquet"
    parquet.write_table(pa.table({**columns, "timestamp": seconds}), recording)
    with worker(right, folder):
        asmg(right, folder, "produce", str(recording), "--end")
        said = asmg(right, folder, "subscribe", "--until", str(VERSIONS), "--for", "120", "--json")
        asmg(right, folder, "status")
    last: int = json.loads(said.stdout.splitlines()[-1])["version"]
    return last


def refusal(settings: Settings, folder: Path, said: str) -> dict[str, Any]:
    """What `config check` and `worker` answer; named: both in one line with `said`, and without the password."""
    begin = time.monotonic()
    checked = asmg(settings, folder, "config", "check", check=False)
    started = asmg(settings, folder, "worker", check=False)
    seconds = round((time.monotonic() - begin) / 2, 1)
    lines = [done.stderr.splitlines() for done in (checked, started)]
    codes = [checked.returncode, started.returncode]
    named = all(len(one) == 1 and said in one[0] for one in lines) and codes[0] == codes[1] > 1
    return {"exit_codes": codes, "said": lines[1][-1:], "named": named, "seconds": seconds}


def taken_away(broker: SecuredBroker, right: Settings, folder: Path, acl: Acl) -> dict[str, Any]:
    """How a running worker ends when it loses one right."""
    with worker(right, folder) as running:
        reading(folder)
        begin = time.monotonic()
        with without(broker, f"User:{broker.user}", acl):
            code = running.process.wait(timeout=2 * LIMIT)
    last = running.lines[-1]
    named = last.startswith("asmg: ") and f"may not {text(acl)} " in last
    return {"exit_code": code, "said": last, "named": named, "seconds": round(time.monotonic() - begin, 1)}


def rotation(broker: SecuredBroker, right: Settings, folder: Path) -> bool:
    """Whether collect and window start afresh once the password file has changed, and the worker goes on."""
    with worker(right, folder) as running:
        reading(folder)
        Path(right["password_file"]).write_text(f"{broker.password}\n")
        for child in ("collect", "window"):
            running.until(f"{child}: asmg: the files of secrets or certificates have changed")
        time.sleep(5)
        return running.process.poll() is None


def reading(folder: Path) -> None:
    """Returns when the window reads."""
    deadline = time.monotonic() + 6 * LIMIT
    while not read_window(folder / "state").active:
        if time.monotonic() > deadline:
            raise TimeoutError("the window was not assigned")
        time.sleep(0.2)
    time.sleep(2.0)


class Worker:
    """A worker that runs, and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.lines = process, list[str]()
        self._changed = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def until(self, beginning: str) -> None:
        """Returns when a line has come that begins so."""
        with self._changed:
            if not self._changed.wait_for(lambda: any(line.startswith(beginning) for line in self.lines), 2 * LIMIT):
                raise TimeoutError(f"no line begins with {beginning!r}: {self.lines}")

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(LIMIT)
        self._listener.join(LIMIT)

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()


@contextlib.contextmanager
def worker(settings: Settings, folder: Path) -> Iterator[Worker]:
    """A worker, ended afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_app.cli", "worker"], env=environment(settings, folder), stderr=-1, text=True
    )
    running = Worker(process)
    try:
        yield running
    finally:
        running.end()


@contextlib.contextmanager
def without(broker: SecuredBroker, principal: str, acl: Acl) -> Iterator[None]:
    """One right less."""
    broker.revoke(principal, acl)
    try:
        yield
    finally:
        broker.grant(principal, [acl])
        time.sleep(1.0)


def single(acls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One operation each."""
    return [{**acl, "operations": [operation]} for acl in acls for operation in acl["operations"]]


def text(acl: Acl) -> str:
    """As it is said: "read topic interactions"."""
    return f"{acl['operations'][0].lower()} {acl['kind']} {acl['name']}"


def asmg(settings: Settings, folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """One command of ours. Raises CalledProcessError, or TimeoutExpired when it hangs."""
    command = [sys.executable, "-m", "stream_app.cli", *arguments]
    surroundings = environment(settings, folder)
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=180, check=check)
    assert settings.get("password", "never") not in done.stderr or settings["password"] == "wrong"
    return done


def environment(settings: Settings, folder: Path) -> dict[str, str]:
    """All settings as variables."""
    learning = {"ASMG_LEARNING__PRETRAIN": str(PRETRAIN), "ASMG_LEARNING__PASSES": "1"}
    others = {"ASMG_STATE_DIRECTORY": str(folder / "state"), "ASMG_PERIODS__COUNT": str(COUNT), **learning}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASMG_")}
    variables = {name if "." in name else f"kafka.{name}": value for name, value in settings.items()}
    return kept | others | {f"ASMG_{name.replace('.', '__').upper()}": value for name, value in variables.items()}
