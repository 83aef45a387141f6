"""``barnabas chat`` on a real terminal (a pty): streaming, several lines, Ctrl-C, and taking up what was unfinished."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.support.deployment import Deployment
from tests.support.processes import ROOT, BarnabasProcess, environment, run_barnabas
from topics.partitioner import partition_for

#: What a terminal gets when it is asked for a line: bracketed paste is switched on.
PROMPT = "\x1b[?2004h"


class Terminal:
    """A chat in a pty of its own."""

    def __init__(self, env: dict[str, str], *arguments: str) -> None:
        master, slave = pty.openpty()
        self._master = master
        self.seen = ""
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "barnabas", "chat", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment({**env, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}),
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 -- one ioctl: Ctrl-C needs a controlling terminal
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        self.popen.kill()
        self.popen.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        """Press keys; what was shown until now is forgotten."""
        self.seen = ""
        os.write(self._master, text.encode())

    def wait_for(self, *texts: str, timeout_s: float = 60.0) -> None:
        """Wait until they are shown, one behind the other."""
        deadline, place = time.monotonic() + timeout_s, 0
        for text in texts:
            while (found := self.seen.find(text, place)) < 0:
                assert time.monotonic() < deadline, f"{text!r} is not in {self.seen[place:][-500:]!r}"
                self._read()
            place = found + len(text)

    def _read(self) -> None:
        if select.select([self._master], [], [], 0.2)[0]:
            with suppress(OSError):  # the other side is closed
                self.seen += os.read(self._master, 4096).decode(errors="replace")

    def ended(self, timeout_s: float = 60.0) -> int:
        """Wait for its end, reading on so that it is not held up; returns the exit code."""
        deadline = time.monotonic() + timeout_s
        while self.popen.poll() is None:
            assert time.monotonic() < deadline, f"it did not end: {self.seen[-500:]!r}"
            self._read()
        return self.popen.returncode


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _env(served: Deployment, folder: Path) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": served.bootstrap_servers,
        "BARNABAS_PREFIX": served.names.prefix,
        "BARNABAS_PARTITIONS": str(served.partitions),
        "BARNABAS_DATA_DIR": str(folder),
    }


def test_chat_streams_cancels_and_remembers(served: Deployment, tmp_path: Path) -> None:
    """An answer, one of two lines, one that Ctrl-C cancels; Ctrl-D leaves, and the next chat shows what was said."""
    env = _env(served, tmp_path)
    with Terminal(env, "chat-a") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("fast one\r")
        terminal.wait_for("fast one!", PROMPT)
        terminal.type("fast two\x1b\rlines\r")
        terminal.wait_for("lines!", PROMPT)
        terminal.type("hang here\r")
        terminal.wait_for("never")
        terminal.type("\x03")
        terminal.wait_for("[cancelled]", PROMPT)
        terminal.type("\x04")
        assert terminal.ended() == 0
    with Terminal(env, "chat-a") as terminal:
        terminal.wait_for("fast one!")
        terminal.wait_for("lines!", PROMPT)
        terminal.type("/erase\r")
        terminal.wait_for("forgotten", PROMPT)
        terminal.type("/quit\r")
        assert terminal.ended() == 0
    done = run_barnabas("sessions", "show", "chat-a", "--json", env=env, cwd=tmp_path)
    assert json.loads(done.stdout)["memory"] == []


def test_chat_killed_in_mid_answer_takes_it_up_again(served: Deployment, tmp_path: Path) -> None:
    """The chat is killed while an answer is written; the next one shows the whole answer without asking again."""
    env = _env(served, tmp_path)
    with Terminal(env, "chat-b") as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("slow answer\r")
        terminal.wait_for("a b c")
        os.kill(terminal.popen.pid, signal.SIGKILL)
    with Terminal(env, "chat-b") as terminal:
        terminal.wait_for("a b c d e f g h i j k l m n o p q r s t", PROMPT)
        terminal.type("/quit\r")
        assert terminal.ended() == 0
    assert [call.session_id for call in served.calls()].count("chat-b") == 1
    assert not list((tmp_path / "chat").glob("*.json"))


def test_chat_reads_lines_of_a_pipe(served: Deployment, tmp_path: Path) -> None:
    """Without a terminal each line is a message; ``erase`` from the shell empties the session."""
    env = _env(served, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "barnabas", "chat", "chat-c"],
        input="fast one\n\nfast two\n",
        capture_output=True,
        text=True,
        env=environment(env),
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    assert done.stdout == "fast one!\nfast two!\n"
    assert done.stderr == ""
    erased = run_barnabas("erase", "chat-c", "--yes", "--json", env=env, cwd=tmp_path)
    assert json.loads(erased.stdout)["event"] == "erased"


def test_chat_of_a_pipe_tells_by_its_exit_code_that_a_message_has_no_answer(served: Deployment, tmp_path: Path) -> None:
    """The others are answered all the same."""
    done = subprocess.run(
        [sys.executable, "-m", "barnabas", "chat", "chat-d", "--agent", "nobody"],
        input="fast one\n",
        capture_output=True,
        text=True,
        env=environment(_env(served, tmp_path)),
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("failed: unknown_agent: ")


def test_chat_of_a_pipe_ends_with_ctrl_c_while_it_waits_for_a_line(served: Deployment, tmp_path: Path) -> None:
    """Though the other end of the pipe stays open."""
    with subprocess.Popen(
        [sys.executable, "-m", "barnabas", "chat", "chat-e"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(_env(served, tmp_path)),
        cwd=ROOT,
    ) as chat:
        assert chat.stdin is not None
        assert chat.stdout is not None
        assert chat.stderr is not None
        try:
            chat.stdin.write("fast one\n")
            chat.stdin.flush()
            assert chat.stdout.readline() == "fast one!\n"
            chat.stdin.write(" ")
            chat.stdin.flush()
            deadline = time.monotonic() + 60
            while _unread(chat.stdin.fileno()):  # once this is taken, it waits for the rest of the line
                assert time.monotonic() < deadline
                time.sleep(0.01)
            chat.send_signal(signal.SIGINT)
            assert chat.wait(60) == 130
            assert chat.stderr.read() == ""
        finally:
            chat.kill()


def _unread(pipe: int) -> int:
    """How many bytes of a pipe nobody has read yet."""
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_send_that_is_cancelled_is_exit_code_1(served: Deployment, tmp_path: Path) -> None:
    """There is no answer."""
    env = _env(served, tmp_path)
    words = ("send", "chat-f", "hang here", "--message-id", "m1", "--json")
    with BarnabasProcess(words, env=env, log=tmp_path / "send.log") as sending:
        deadline = time.monotonic() + 60
        while not any('"delta"' in line for line in sending.lines):
            assert time.monotonic() < deadline, sending.tail()
            time.sleep(0.05)
        assert run_barnabas("cancel", "chat-f", "m1", env=env, cwd=tmp_path).returncode == 0
        assert sending.popen.wait(60) == 1
        assert json.loads(sending.lines[-1])["kind"] == "cancelled"


def test_chat_whose_unfinished_answer_is_gone_goes_on(served: Deployment, tmp_path: Path) -> None:
    """The topics were made again since: it says so, once, and talks."""
    env = _env(served, tmp_path)
    note = tmp_path / "chat" / "chat-g.json"
    note.parent.mkdir()
    fields = {"session_id": "chat-g", "message_id": "m", "turn_id": "t", "topic": "messages", "offset": 0}
    place = partition_for(b"chat-g", served.partitions)
    note.write_text(json.dumps({**fields, "partition": place, "cursor": f"{place}:900000:3"}))
    done = subprocess.run(
        [sys.executable, "-m", "barnabas", "chat", "chat-g"],
        input="fast one\n",
        capture_output=True,
        text=True,
        env=environment(env),
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "fast one!\n")
    assert done.stderr.startswith("the unfinished answer is gone")
    assert not note.exists()
