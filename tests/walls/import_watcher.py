"""Run in a process of its own: imports the modules named as arguments and prints, as JSON, what that did to the world.

Everything is imported twice. The first time brings the packages of others, whose doings are not judged; the second time
our modules alone run again, watched through the interpreter's audit events.
"""

import importlib
import json
import logging
import os
import signal
import sys
import threading

FORBIDDEN = frozenset({
    "socket.connect", "socket.bind", "subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.mkdir",
    "os.remove", "os.rename", "os.chmod", "os.putenv", "os.unsetenv", "_thread.start_new_thread",
})  # fmt: skip


def world() -> tuple[object, ...]:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return dict(os.environ), list(logging.root.handlers), threading.active_count(), handlers, list(sys.path), sys.stdout


def main(names: list[str]) -> None:
    sys.dont_write_bytecode = True  # so that a file opened for writing is the module's own doing
    for name in names:
        importlib.import_module(name)
    for name in names:
        sys.modules.pop(name)
    seen: list[str] = []
    current = ""

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and not set(arguments[1]).isdisjoint("wax+")
        if current and (writes or event in FORBIDDEN):
            seen.append(f"{current}: {event}")

    sys.addaudithook(watch)
    for name in names:
        before, current = world(), name
        importlib.import_module(name)
        current = ""
        if world() != before:
            seen.append(f"{name}: changed the process")
    print(json.dumps(seen))


main(sys.argv[1:])
