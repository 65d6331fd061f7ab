"""The process that a fixture of kafka-python starts: its source package leaves this module out.

The fixtures use `start`, `stop`, `wait_for(pattern, timeout)` and `dump_logs`.
"""

import re
import subprocess
import threading
import time


class ExternalService:
    """A broker that somebody else started."""

    def __init__(self, host, port):
        self.host = host
        self.port = port

    def open(self):
        pass

    def close(self):
        pass

    def stop(self):
        pass

    def dump_logs(self):
        pass


class SpawnedService:
    """A child process whose lines of output are kept."""

    def __init__(self, args, env=None):
        self._args = args
        self._env = env
        self._child = None
        self._lines = []
        self._ended = False
        self._changed = threading.Condition()

    def start(self):
        self._child = subprocess.Popen(
            self._args,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
        )
        threading.Thread(target=self._read, args=(self._child,), daemon=True).start()

    def _read(self, child):
        for line in child.stdout:
            with self._changed:
                self._lines.append(line.rstrip('\n'))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, pattern, timeout=30):
        """Whether a line matches before the time is over.

        The fixtures start a process that ended again and again for two minutes, for a port that may be free then.
        Here ports are free, so that the end is an error at once, with the last line that the process printed.
        """
        wanted = re.compile(pattern, re.IGNORECASE)
        deadline = time.monotonic() + timeout
        seen = 0
        with self._changed:
            while True:
                for line in self._lines[seen:]:
                    if wanted.search(line):
                        return True
                seen = len(self._lines)
                left = deadline - time.monotonic()
                if self._ended:
                    raise RuntimeError(f'the process ended: {self._lines[-1:]}')
                if left <= 0:
                    return False
                self._changed.wait(min(left, 0.5))

    def is_alive(self):
        return self._child is not None and self._child.poll() is None

    def stop(self):
        if not self.is_alive():
            return
        self._child.terminate()
        try:
            self._child.wait(30)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def join(self):
        self.stop()

    def dump_logs(self):
        with self._changed:
            for line in self._lines[-200:]:
                print(line)
