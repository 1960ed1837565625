#!/usr/bin/env python3
"""One real Apache Kafka broker on loopback, for development, tests and the demo.

    python deploy/kafka-local/broker.py [--directory D] [--port P]     runs until Ctrl-C, prints the bootstrap address
    python deploy/kafka-local/broker.py --fetch                        only fetches the jars

    with LocalBroker(Path("somewhere")) as broker:                     the same from Python
        print(broker.bootstrap)

Rules it keeps: it listens on 127.0.0.1 only, on free ports; its jars are fetched once, by Maven, into a cache folder
(`ASMG_KAFKA_CACHE`, default `~/.cache/asmg-stream/kafka-4.1.0`); its log and data stay in the directory; it ends when
its owner ends, however that happens. Ready means: an admin call has succeeded (an open port is not enough).

Exit codes: 0 stopped, 1 the broker failed (its log is named), 5 Java or Maven is missing (the text says what to do).
Needs only the standard library, and kafka-python to see that the broker answers.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

KAFKA = "4.1.0"
JAVA_AT_LEAST = 17
DEBIAN_PACKAGES = ("default-jre-headless", "maven")
# Measured: usable in 4-5 s, about 200 MB resident (docs/decisions.md).
JVM_FLAGS = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
LOG_FLAGS = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")
CLUSTER_ID = "asmgAsmgAsmgAsmgAsmgAA"

MISSING = f"""A local Kafka broker needs Java {JAVA_AT_LEAST} or newer and Maven; {{problem}}.
Either install them:
    Debian, Ubuntu:  sudo apt-get install --no-install-recommends {" ".join(DEBIAN_PACKAGES)}
    macOS:           brew install openjdk maven
or use another broker:
    docker compose up -d kafka          then  export KAFKA_BOOTSTRAP=localhost:9092
    export KAFKA_BOOTSTRAP=host:port    for a broker that is already there"""

# One node is both broker and controller. Every internal topic must do with one replica; group members may start at
# once; a small cleaner buffer and back-off let compaction run within a test.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=200
"""


class JavaMissing(Exception):
    """Java or Maven is missing or too old; the text says what to install and which ways need neither. Exit 5."""

    def __init__(self, problem: str) -> None:
        super().__init__(MISSING.format(problem=problem))


class BrokerFailed(Exception):
    """The broker ended or did not answer in time; the text names its log and quotes the end of it. Exit 1."""


def cache_directory() -> Path:
    """Where the jars are kept: `ASMG_KAFKA_CACHE`, else a folder of the user's cache."""
    named = os.environ.get("ASMG_KAFKA_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "asmg-stream" / f"kafka-{KAFKA}"


def java_version() -> int:
    """The major version of the `java` on the path; 0 when there is none."""
    if shutil.which("java") is None:
        return 0
    answer = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', answer)
    return int(found.group(1)) if found else 0


def ensure_java(maven: bool) -> None:
    """Checks for Java (and Maven); as root on Debian it installs what is missing. Raises JavaMissing."""
    if _missing(maven) and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {' '.join(DEBIAN_PACKAGES)} ...", file=sys.stderr, flush=True)
        subprocess.run(["apt-get", "update"], stdout=sys.stderr, check=False)
        install = ["apt-get", "install", "-y", "--no-install-recommends", *DEBIAN_PACKAGES]
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(install, stdout=sys.stderr, env=quiet, check=False)
    if problem := _missing(maven):
        raise JavaMissing(problem)


def _missing(maven: bool) -> str:
    version = java_version()
    if version == 0:
        return "there is no `java` on the PATH"
    if version < JAVA_AT_LEAST:
        return f"the `java` on the PATH is version {version}"
    return "there is no `mvn` on the PATH" if maven and shutil.which("mvn") is None else ""


def fetch_jars() -> Path:
    """The folder of the broker's jars; fetched by Maven if it is not there yet. Raises JavaMissing, BrokerFailed.

    Fetched aside and then renamed, so that the folder is there only when it is complete.
    """
    jars = cache_directory()
    if jars.is_dir():
        ensure_java(maven=False)
        return jars
    ensure_java(maven=True)
    jars.parent.mkdir(parents=True, exist_ok=True)
    print(f"fetching Apache Kafka {KAFKA} (43 MB) into {jars} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix=".fetch-") as aside:
        pom, target = Path(__file__).with_name("pom.xml"), Path(aside) / "jars"
        command = ["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerFailed(f"Maven could not fetch the jars of Kafka {KAFKA}:\n{done.stdout[-2000:]}{done.stderr}")
        # Another process may have been quicker: its folder is as good as ours.
        with contextlib.suppress(OSError):
            target.rename(jars)
    return jars


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


class LocalBroker:
    """A broker whose data, settings and log live in `directory`; the same directory goes on where it stopped.

    `bootstrap` is its address, "127.0.0.1:port"; it stays the same when this object is stopped and started again.
    Use it as a context manager, or call `start` and `stop`.
    """

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory.absolute()
        free, self._controller = free_ports(2)
        self.port = port or free
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.log = self.directory / "broker.log"
        self._java: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LocalBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def properties(self) -> str:
        """The text of server.properties."""
        return PROPERTIES.format(port=self.port, controller=self._controller, data=self.directory / "data")

    def format_options(self) -> list[str]:
        """What the storage tool is told beside, when it formats the data directory."""
        return []

    def start(self, deadline: float = 90.0) -> None:
        """Starts the broker, waits until it answers (at most `deadline` seconds). Raises BrokerFailed, JavaMissing."""
        classpath = f"{fetch_jars()}/*"
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = self.directory / "server.properties"
        settings.write_text(self.properties())
        java = ["java", *JVM_FLAGS, *LOG_FLAGS, "-cp", classpath]
        with self.log.open("ab") as log:
            form = [*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(settings)]
            form += self.format_options()
            if subprocess.run([*form, "--ignore-formatted"], stdout=log, stderr=log, check=False).returncode:
                raise BrokerFailed(f"the data directory could not be formatted{self._end_of_log()}")
            self._java = subprocess.Popen(
                [*java, "kafka.Kafka", str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._watcher = _end_with_us(self._java.pid)
        try:
            self._wait_until_ready(deadline)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the broker in order (about half a second, at most 30); does nothing when it is not running."""
        if self._java is not None:
            self._java.terminate()
            try:
                self._java.wait(30)
            except subprocess.TimeoutExpired:
                self._java.kill()
                self._java.wait()
        if self._watcher is not None:
            # Killed, not let go: by now the pid it would end may belong to somebody else.
            self._watcher.kill()
            self._watcher.communicate()
        self._java = self._watcher = None

    def kill(self) -> None:
        """Ends the broker as a crash would (SIGKILL): what a test of a lost broker wants."""
        if self._java is not None:
            self._java.kill()
        self.stop()

    def wait(self) -> int:
        """Waits for the broker to end by itself; its exit code."""
        return self._java.wait() if self._java is not None else 0

    def _wait_until_ready(self, deadline: float) -> None:
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            if self._java is None or self._java.poll() is not None:
                raise BrokerFailed(f"the broker ended while starting{self._end_of_log()}")
            if _answers(self.port):
                return
            time.sleep(0.1)
        raise BrokerFailed(f"the broker did not answer within {deadline:.0f} s{self._end_of_log()}")

    def _end_of_log(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([f"; the end of {self.log}:", *lines])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    # Imported here: --fetch must work with a Python that has no kafka-python.
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}", bootstrap_timeout_ms=5000)
    except KafkaError:
        return False
    try:
        admin.list_topics()
        return True
    except KafkaError:
        return False
    finally:
        admin.close()


def _end_with_us(pid: int) -> subprocess.Popen[bytes]:
    """A shell that ends `pid` when the pipe from this process closes: on close, exit, crash or kill -9 of ours."""
    watch = ["sh", "-c", f"read -r _; kill {pid} 2>/dev/null"]
    return subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code named at the top of this file."""
    parser = argparse.ArgumentParser(description="One real Apache Kafka broker on loopback, for development.")
    parser.add_argument("--directory", type=Path, help="data and log; kept (default: a temporary folder, removed)")
    parser.add_argument("--port", type=int, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--fetch", action="store_true", help="only fetch the jars into the cache folder")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.fetch:
            print(fetch_jars())
            return 0
        with contextlib.ExitStack() as stack:
            directory = options.directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kafka-")))
            broker = stack.enter_context(LocalBroker(directory, options.port))
            print(broker.bootstrap, flush=True)
            code = broker.wait()
            print(f"the broker ended with exit code {code}", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        return 0
    except JavaMissing as missing:
        print(missing, file=sys.stderr)
        return 5
    except BrokerFailed as failed:
        print(failed, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
