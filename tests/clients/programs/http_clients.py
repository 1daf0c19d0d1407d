"""What people score with from Python: requests, httpx, the OpenAI client, websockets.

Arguments: address of the router, key, address of the admin port. The endpoint is `chat`, its host
`chat.example`; its versions `one` (all traffic) and `finishing` (`onDisconnect: finish`) have two
slots each, `streamIdleTimeout` is 1 s and `maxQueueWait` 200 ms.
"""

import json
import sys
import threading
import time
import unittest

import httpx
import openai
import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

ADDRESS, KEY, ADMIN = sys.argv[1:4]
BASE = f"http://{ADDRESS}/api/v1/endpoint/chat"
BEARER = {"Authorization": f"Bearer {KEY}"}
TIME_LIMIT = 20
# Ten events, 50 ms apart: half of a second from the first to the last.
PACE = {"chunks": "10", "interval": "50ms"}
# A stream that nobody waits for the end of.
ENDLESS = {"chunks": "100000", "interval": "20ms"}
SPREAD_AT_LEAST_S = 0.25


def busy(version):
    replicas = requests.get(f"http://{ADMIN}/api/v1/replicas", timeout=TIME_LIMIT).json()
    return sum(replica["busy"] for replica in replicas if replica["version"] == version)


def cancelled(version):
    """Executions that the replicas of a version saw cut off."""
    replicas = requests.get(f"http://{ADMIN}/api/v1/replicas", timeout=TIME_LIMIT).json()
    addresses = [replica["address"] for replica in replicas if replica["version"] == version]
    stats = [requests.get(f"http://{a}/stats", timeout=TIME_LIMIT).json() for a in addresses]
    return sum(one["cancelled"] for one in stats)


class Clients(unittest.TestCase):
    def wait_for(self, what, condition, limit_s=5.0):
        until = time.monotonic() + limit_s
        while not condition():
            self.assertLess(time.monotonic(), until, what)
            time.sleep(0.02)

    def assert_one_by_one(self, times):
        self.assertGreaterEqual(len(times), 10)
        self.assertGreater(times[-1] - times[0], SPREAD_AT_LEAST_S, "the events came at once")

    def test_requests_scores_and_reads_a_refusal(self):
        answer = requests.post(f"{BASE}/score", json={"a": 1}, headers=BEARER, timeout=TIME_LIMIT)
        self.assertEqual((answer.status_code, answer.json()["requestBytes"]), (200, 8))
        answer = requests.post(f"{BASE}/score", data=b"x" * 3_000_000, timeout=TIME_LIMIT)
        self.assertEqual(answer.status_code, 401)
        self.assertEqual(answer.json()["error"]["code"], "credential_missing")

    def test_requests_reads_events_as_they_come(self):
        with requests.post(
            f"{BASE}/stream", params=PACE, headers=BEARER, stream=True, timeout=TIME_LIMIT
        ) as answer:
            times = [time.monotonic() for line in answer.iter_lines(chunk_size=1) if line]
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        self.assert_one_by_one(times)

    def test_httpx_reads_events_as_they_come_over_both_versions_of_http(self):
        for http2 in (False, True):
            with (
                self.subTest(http2=http2),
                httpx.Client(http1=not http2, http2=http2, timeout=TIME_LIMIT) as client,
                client.stream("POST", f"{BASE}/stream", params=PACE, headers=BEARER) as answer,
            ):
                times = [time.monotonic() for line in answer.iter_lines() if line]
                self.assertEqual(answer.http_version, "HTTP/2" if http2 else "HTTP/1.1")
                self.assert_one_by_one(times)

    def test_httpx_streams_a_body_up_and_down_at_once(self):
        def pieces():
            for number in range(50):
                yield bytes([number]) * 10_000

        for http2 in (False, True):
            with (
                self.subTest(http2=http2),
                httpx.Client(http1=not http2, http2=http2, timeout=TIME_LIMIT) as client,
            ):
                answer = client.post(f"{BASE}/echo", content=pieces(), headers=BEARER)
                self.assertEqual(answer.content, b"".join(pieces()))

    def test_a_host_reaches_its_endpoint_with_the_path_unchanged(self):
        headers = {**BEARER, "Host": "chat.example"}
        for path in ("/score", "/swagger.json"):
            answer = httpx.get(f"http://{ADDRESS}{path}", headers=headers, timeout=TIME_LIMIT)
            self.assertEqual(answer.status_code, 200, path)
        answer = httpx.get(f"http://{ADDRESS}/score", headers=BEARER, timeout=TIME_LIMIT)
        self.assertEqual(answer.status_code, 404)

    def openai(self, key=KEY):
        client = openai.OpenAI(
            base_url=f"{BASE}/v1", api_key=key, max_retries=0, timeout=TIME_LIMIT
        )
        self.addCleanup(client.close)
        return client

    def chat(self, client, **more):
        return client.chat.completions.create(
            model="one", messages=[{"role": "user", "content": "hello"}], stream=True, **more
        )

    def test_openai_streams_a_chat(self):
        times, words = [], []
        for chunk in self.chat(self.openai(), extra_query=PACE):
            times.append(time.monotonic())
            words.append(chunk.choices[0].delta.content)
        self.assertEqual(words, [f"token{number} " for number in range(10)])
        self.assert_one_by_one(times)

    def test_openai_understands_the_routers_errors(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            self.chat(self.openai("wrong"))
        self.assertEqual(caught.exception.code, "credential_invalid")
        self.assertIn("key", caught.exception.message)
        with self.assertRaises(openai.NotFoundError) as caught:
            self.chat(self.openai(), extra_headers={"azureml-model-deployment": "nobody"})
        self.assertEqual(caught.exception.code, "version_not_found")

    def test_openai_comes_back_after_an_overload_when_it_is_told_to(self):
        pin = {"azureml-model-deployment": "finishing"}
        self.wait_for("the slots to be free", lambda: busy("finishing") == 0, limit_s=15)
        hold = {"chunks": "20", "interval": "50ms"}
        holders = [self.chat(self.openai(), extra_query=hold, extra_headers=pin) for _ in range(2)]
        with self.assertRaises(openai.InternalServerError) as caught:
            self.chat(self.openai(), extra_headers=pin)
        error = caught.exception
        self.assertEqual((error.status_code, error.code), (503, "queue_timeout"))
        self.assertGreaterEqual(int(error.response.headers["retry-after"]), 1)
        self.assertGreaterEqual(int(error.response.headers["retry-after-ms"]), 1)
        # With retries the same request succeeds once a holder has ended.
        patient = self.openai().with_options(max_retries=10)
        readers = [threading.Thread(target=list, args=(holder,)) for holder in holders]
        for reader in readers:
            reader.start()
        self.assertEqual(len(list(self.chat(patient, extra_query=PACE, extra_headers=pin))), 10)
        for reader in readers:
            reader.join()

    def test_a_client_that_leaves_a_stream_cancels_the_work_of_the_replica(self):
        for http2 in (False, True):
            with self.subTest(http2=http2):
                before = cancelled("one")
                with (
                    httpx.Client(http1=not http2, http2=http2, timeout=TIME_LIMIT) as client,
                    client.stream("POST", f"{BASE}/stream", params=ENDLESS, headers=BEARER) as it,
                ):
                    next(it.iter_lines())
                    self.assertEqual(busy("one"), 1)
                self.wait_for("the replica to be cut off", lambda: cancelled("one") == before + 1)
                self.wait_for("the slot to be free", lambda: busy("one") == 0)

    def test_onDisconnect_finish_lets_the_replica_finish(self):
        self.wait_for("the slots to be free", lambda: busy("finishing") == 0, limit_s=15)
        before = cancelled("finishing")
        headers = {**BEARER, "azureml-model-deployment": "finishing"}
        params = {"chunks": "40", "interval": "50ms"}
        with httpx.Client(timeout=TIME_LIMIT) as client:
            with client.stream("POST", f"{BASE}/stream", params=params, headers=headers) as answer:
                next(answer.iter_lines())
                begun = time.monotonic()
        self.assertEqual(busy("finishing"), 1)
        self.wait_for("the replica to finish", lambda: busy("finishing") == 0, limit_s=15)
        self.assertGreater(time.monotonic() - begun, 1.0)
        self.assertEqual(cancelled("finishing"), before)

    def test_a_silent_stream_is_cut_and_not_ended_as_if_it_were_whole(self):
        params = {"chunks": "3", "interval": "30s"}
        begun = time.monotonic()
        with self.assertRaises(requests.exceptions.ChunkedEncodingError):
            with requests.post(
                f"{BASE}/stream", params=params, headers=BEARER, stream=True, timeout=TIME_LIMIT
            ) as answer:
                list(answer.iter_lines(chunk_size=1))
        self.assertLess(time.monotonic() - begun, 10)
        self.wait_for("the slot to be free", lambda: busy("one") == 0)

    def socket(self, **more):
        return connect(
            f"ws://{ADDRESS}/api/v1/endpoint/chat/ws", additional_headers=BEARER, **more
        )

    def test_websockets_keep_their_slot_for_life(self):
        with self.socket() as socket:
            socket.send("text")
            self.assertEqual(socket.recv(TIME_LIMIT), "text")
            socket.send(b"\x00binary")
            self.assertEqual(socket.recv(TIME_LIMIT), b"\x00binary")
            self.assertTrue(socket.ping().wait(TIME_LIMIT))
            self.assertEqual(busy("one"), 1)
        self.assertEqual(socket.close_code, 1000)
        self.wait_for("the slot to be free", lambda: busy("one") == 0)

    def test_websockets_carry_a_megabyte_and_end_when_they_are_silent(self):
        message = bytes(range(256)) * 4096
        with self.socket(max_size=None, ping_interval=None) as socket:
            socket.send(message)
            self.assertEqual(socket.recv(TIME_LIMIT), message)
            with self.assertRaises(ConnectionClosed):
                socket.recv(TIME_LIMIT)
        self.wait_for("the slot to be free", lambda: busy("one") == 0)

    def test_websockets_need_the_key(self):
        url = f"ws://{ADDRESS}/api/v1/endpoint/chat/ws"
        with self.assertRaisesRegex(Exception, "401"):
            connect(url)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
