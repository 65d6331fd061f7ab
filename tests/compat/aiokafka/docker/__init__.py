"""Stands in for the docker client that aiokafka's fixtures start Kafka with: its one container is a node on this machine.

The fixtures call `from_env().containers.run(...)` with the ports to listen on in `environment`, and `exec_run` to call
Kafka's tools inside. Only the plain-text listener is served; no tool is.
"""

import os
import pathlib
import subprocess
import tempfile
import time
import types

HOME = pathlib.Path(os.environ["KAFKA_ROOT"])
READY = "Kafka Server started"


class Container:
    """A running node in place of a container."""

    def __init__(self, environment):
        self._dir = tempfile.TemporaryDirectory(prefix="minikafka-compat-")
        directory = pathlib.Path(self._dir.name)
        config = directory / "server.properties"
        config.write_text(properties(directory / "data", environment))
        storage = [HOME / "bin/kafka-storage.sh", "format", "-t", "bWluaWthZmthLXRlc3RzIQ", "-c", config]
        subprocess.run([*storage, "--standalone"], check=True, stdout=subprocess.DEVNULL)
        self._log = directory / "log"
        with self._log.open("w") as log:
            start = [HOME / "bin/kafka-run-class.sh", "kafka.Kafka", config]
            self._node = subprocess.Popen(start, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 90
        while READY not in self._log.read_text():
            if time.monotonic() > deadline or self._node.poll() is not None:
                raise RuntimeError(f"the node does not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def exec_run(self, command, **_options):
        """Tools inside the container: none, which is exit code 127 of a shell."""
        return 127, f"not found: {command}".encode()

    def stop(self):
        self._node.terminate()
        self._node.wait(60)
        self._dir.cleanup()


class Containers:
    def run(self, image, command=None, environment=None, **_options):
        if command is not None:
            raise RuntimeError(f"only a node can be run, not {command}")
        return Container(environment)


class Client:
    containers = Containers()

    def close(self):
        pass


def from_env():
    """The client of the daemon that the environment names."""
    return Client()


def properties(data, environment):
    """A small combined node on the ports that the fixture chose."""
    address = f"{environment['ADVERTISED_HOST']}:{environment['ADVERTISED_PORT']}"
    controller = f"{environment['ADVERTISED_HOST']}:{environment['ADVERTISED_SSL_PORT']}"
    return f"""\
process.roles=broker,controller
node.id=0
controller.quorum.bootstrap.servers={controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{address},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{address},CONTROLLER://{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions={environment['NUM_PARTITIONS']}
offsets.topic.num.partitions=2
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""


models = types.SimpleNamespace(containers=types.SimpleNamespace(Container=Container))
