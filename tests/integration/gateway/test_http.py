"""The gateway as other programs meet it: curl, connections that are kept, probes, and its end."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.support.deployment import Deployment
from tests.support.endpoint import Endpoint
from tests.support.gateway import GatewayProcess
from tests.support.patience import ANSWER_S
from tests.support.processes import run_barnabas


def body_of(text: str, session: str, *, stream: bool = False) -> str:
    """Return a chat completion's request."""
    request = {"model": "assistant", "messages": [{"role": "user", "content": text}], "user": session}
    return json.dumps({**request, "stream": stream})


def test_curl_holds_a_conversation(gateway: GatewayProcess, session: str) -> None:
    """``curl -N`` prints each chunk as it comes."""

    def curl(text: str) -> list[str]:
        command = ["curl", "-sSN", "-H", "Content-Type: application/json", "-d", body_of(text, session, stream=True)]
        command += ["--max-time", str(ANSWER_S), f"{gateway.url}/v1/chat/completions"]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        return [line.removeprefix("data: ") for line in run.stdout.splitlines() if line]

    for text, expected in (("medium one", "a b c d e f"), ("count them", "3")):
        *chunks, end = curl(text)
        assert end == "[DONE]"
        pieces = [json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks]
        assert "".join(pieces) == expected


def test_silence_is_broken_by_a_sign_of_life(served: Deployment, session: str) -> None:
    """A proxy takes no silent answer for dead; the first of them decides the status."""
    with GatewayProcess(served, env={"BARNABAS_GATEWAY__HEARTBEAT_S": "0.2"}) as gateway:
        with httpx.stream(
            "POST",
            f"{gateway.url}/v1/chat/completions",
            content=body_of("hang on", session, stream=True),
            headers={"Content-Type": "application/json"},
            timeout=ANSWER_S,
        ) as answer:
            assert answer.status_code == 200
            comments = (line for line in answer.iter_lines() if line.startswith(":"))
            assert [next(comments), next(comments)] == [": still there"] * 2
        order = {"turn_id": answer.headers["x-turn-id"]}
        httpx.post(f"{gateway.url}/sessions/{session}/cancel", json=order, timeout=ANSWER_S)


def test_connection_is_kept_and_a_stale_one_does_not_hold_up_the_end(served: Deployment, session: str) -> None:
    """Two requests on one connection, which then is idle while the gateway ends."""
    with GatewayProcess(served) as gateway:
        address = urlsplit(gateway.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=ANSWER_S)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        kept = connection.sock
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"/sessions/{session}/messages", '{"text": "fast"}', headers)
        assert connection.getresponse().status == 202
        assert connection.sock is kept
        assert gateway.stop() == 0
        connection.close()


def test_request_cut_off_in_its_body_harms_nobody(gateway: GatewayProcess) -> None:
    """Its sender has gone; the next one is served."""
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as raw:
        raw.sendall(
            b"POST /sessions/x/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 100\r\n\r\n{"text"'
        )
    assert Endpoint(gateway.url).get("/healthz")[0] == 200


def test_sigterm_lets_an_answer_finish(served: Deployment, session: str) -> None:
    """An answer under way is given whole; a new connection is refused. Mutant: no wait, and the stream breaks off."""
    with GatewayProcess(served, env={"BARNABAS_GATEWAY__DRAIN_TIMEOUT_S": "60"}) as gateway:
        with httpx.stream(
            "POST",
            f"{gateway.url}/v1/chat/completions",
            content=body_of("two-seconds one", session, stream=True),
            headers={"Content-Type": "application/json"},
            timeout=ANSWER_S,
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            gateway.send(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert gateway.wait() == 0, gateway.tail()


def test_sigterm_ends_what_does_not_finish_with_an_error(served: Deployment, session: str) -> None:
    """In time, and it says where to go on: the message is in Kafka."""
    with GatewayProcess(served, env={"BARNABAS_GATEWAY__DRAIN_TIMEOUT_S": "0.5"}) as gateway:
        url, headers = f"{gateway.url}/v1/chat/completions", {"Content-Type": "application/json"}
        whole: list[httpx.Response] = []

        def ask() -> None:
            body = body_of("hang two", f"{session}-2")
            whole.append(httpx.post(url, content=body, headers=headers, timeout=ANSWER_S))

        asking = threading.Thread(target=ask)
        with httpx.stream(
            "POST", url, content=body_of("hang on", session, stream=True), headers=headers, timeout=ANSWER_S
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            asking.start()
            endpoint = Endpoint(gateway.url)
            served.wait(lambda: endpoint.value("barnabas_gateway_open_streams") == 2, "both are open")
            gateway.send(signal.SIGTERM)
            last = [line for line in lines if line][-1]
        asking.join()
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "gateway_stopping"
        assert (whole[0].status_code, whole[0].json()["error"]["code"]) == (503, "gateway_stopping")
        assert whole[0].headers["x-should-retry"] == "false"
        assert gateway.wait() == 0, gateway.tail()
        for turn, name in ((answer, session), (whole[0], f"{session}-2")):
            if "x-turn-id" in turn.headers:
                served.control(name, type="cancel", turn_id=turn.headers["x-turn-id"])


def test_taken_port_is_one_line(gateway: GatewayProcess, served: Deployment) -> None:
    """Which, and what to do."""
    port = str(urlsplit(gateway.url).port)
    with GatewayProcess(served, arguments=("--port", port)) as second:
        assert second.wait() == 1
        assert second.tail().count("\n") == 0
        assert second.tail().startswith(f"error: gateway.port: 127.0.0.1:{port} cannot be listened on (")


def test_without_kafka_is_one_line(tmp_path: Path) -> None:
    """No broker runs in the data directory."""
    run = run_barnabas("gateway", "--port", "0", env={"BARNABAS_DATA_DIR": str(tmp_path)}, cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1)
    assert run.stderr.startswith("error: no Kafka: ")


def test_ready_line_names_address_process_and_kafka(gateway: GatewayProcess, served: Deployment) -> None:
    """One line, for scripts."""
    assert gateway.wait_ready() == {
        "event": "ready",
        "gateway": gateway.url,
        "pid": gateway.pid,
        "bootstrap_servers": served.bootstrap_servers,
    }
    assert Endpoint(gateway.url).report("/readyz") == (200, {"status": "ready", "problems": []})
