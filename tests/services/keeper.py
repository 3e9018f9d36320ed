"""Run one server for an owner that may die: neither the server nor its folder outlives it.

The owner holds the other end of our standard input, and the kernel closes that when the owner
ends, be it by `kill -9`. Run as a plain script, so that it starts quickly and imports nothing of
ours: keeper.py FOLDER USER SIGNAL COMMAND... (USER may be empty: stay who we are).
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading


def main(folder: str, user: str, stop_signal: str, *command: str) -> None:
    child = launch(folder, user, command)
    print(child.pid, flush=True)  # our owner reads it
    orphaned = threading.Event()
    threading.Thread(target=end_with_child, args=(child, orphaned), daemon=True).start()
    os.read(0, 1)  # returns when the owner is gone
    orphaned.set()
    end(child, int(stop_signal))
    shutil.rmtree(folder, ignore_errors=True)


def launch(folder: str, user: str, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
    account = pwd.getpwnam(user) if user else None
    with open(f"{folder}/server.log", "ab") as log:  # noqa: PTH123 - pathlib would double our start-up time
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            extra_groups=[] if account else None,
        )


def end_with_child(child: subprocess.Popen[bytes], orphaned: threading.Event) -> None:
    child.wait()
    if not orphaned.is_set():
        os._exit(0)


def end(child: subprocess.Popen[bytes], stop_signal: int) -> None:
    child.send_signal(signal.SIGCONT)
    child.send_signal(stop_signal)
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
