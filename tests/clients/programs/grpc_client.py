"""gRPC's own Python client against the router: generic stubs, bytes in and out.

Arguments: address of the router, key. The endpoint is `echo`, its host `echo.example`, its largest
message 64 KiB, its `requestTimeout` 2 s, its `streamIdleTimeout` 1 s, its slots two.
"""

import queue
import sys
import unittest

import grpc

ADDRESS, KEY = sys.argv[1:3]
ROUTE = ("x-ms-aml-grpc-service-route", "/api/v1/service/echo")
BEARER = ("authorization", f"Bearer {KEY}")
METHOD = "/test.Echo/Call"
LIMIT = 64 * 1024
TIME_LIMIT = 20


def status_of(call):
    """The status, trailers and words that a call fails with."""
    try:
        result = call()
        if not isinstance(result, bytes):
            result = list(result)
    except grpc.RpcError as error:
        return error.code(), dict(error.trailing_metadata() or ()), error.details()
    raise AssertionError(f"the call succeeded with {len(result)}")


class Client(unittest.TestCase):
    def channel(self, *options):
        channel = grpc.insecure_channel(ADDRESS, options=[("grpc.enable_retries", 0), *options])
        self.addCleanup(channel.close)
        return channel

    def call(self, message, *metadata, channel=None, method=METHOD, timeout=TIME_LIMIT):
        stub = (channel or self.channel()).unary_unary(method)
        return stub(message, metadata=metadata or (ROUTE, BEARER), timeout=timeout)

    def test_a_unary_call_by_route_comes_back_with_the_models_trailers(self):
        stub = self.channel().unary_unary(METHOD)
        answer, call = stub.with_call(b"hello", metadata=(ROUTE, BEARER), timeout=TIME_LIMIT)
        trailers, head = dict(call.trailing_metadata()), dict(call.initial_metadata())
        self.assertEqual(answer, b"hello")
        self.assertEqual(trailers["x-model-trailer"], "yes")
        self.assertEqual(trailers["x-model-messages"], "1")
        self.assertEqual((head["x-modelway-version"], head["x-modelway-source"]), ("one", "model"))

    def test_a_host_reaches_its_endpoint_without_a_route(self):
        channel = self.channel(("grpc.default_authority", "echo.example"))
        self.assertEqual(self.call(b"by host", BEARER, channel=channel), b"by host")

    def test_an_api_key_in_the_metadata_is_enough(self):
        self.assertEqual(self.call(b"key", ROUTE, ("api-key", KEY)), b"key")

    def test_each_message_of_a_stream_comes_back_before_the_next_is_sent(self):
        outgoing = queue.Queue()
        stub = self.channel().stream_stream(METHOD)
        answers = stub(iter(outgoing.get, None), metadata=(ROUTE, BEARER), timeout=TIME_LIMIT)
        for number in range(20):
            outgoing.put(b"%d" % number)
            self.assertEqual(next(answers), b"%d" % number)
        outgoing.put(None)
        self.assertEqual(list(answers), [])
        self.assertEqual(dict(answers.trailing_metadata())["x-model-messages"], "20")

    def test_many_messages_may_be_more_than_the_limit_of_one(self):
        messages = [b"m" * (LIMIT - 5)] * 40
        stub = self.channel().stream_stream(METHOD)
        answers = stub(iter(messages), metadata=(ROUTE, BEARER), timeout=TIME_LIMIT)
        self.assertEqual(list(answers), messages)

    def test_a_message_of_the_limit_passes_and_one_byte_more_is_exhausted(self):
        self.assertEqual(len(self.call(b"m" * LIMIT)), LIMIT)
        code, _, words = status_of(lambda: self.call(b"m" * (LIMIT + 1)))
        self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED, words)
        self.assertIn(str(LIMIT), words)

    def test_a_large_message_in_the_middle_of_a_stream_ends_it_as_exhausted(self):
        outgoing = queue.Queue()
        stub = self.channel().stream_stream(METHOD)
        answers = stub(iter(outgoing.get, None), metadata=(ROUTE, BEARER), timeout=TIME_LIMIT)
        outgoing.put(b"small")
        self.assertEqual(next(answers), b"small")
        outgoing.put(b"m" * (LIMIT + 1))
        code, _, words = status_of(lambda: answers)
        self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED, words)

    def test_a_refused_message_does_not_disturb_the_calls_beside_it(self):
        channel = self.channel()
        outgoing = queue.Queue()
        beside = channel.stream_stream(METHOD)(
            iter(outgoing.get, None), metadata=(ROUTE, BEARER), timeout=TIME_LIMIT
        )
        outgoing.put(b"before")
        self.assertEqual(next(beside), b"before")
        # Refused before the model has said anything.
        slow = ("x-model-latency", "500ms")
        code, _, words = status_of(
            lambda: self.call(b"m" * (LIMIT + 1), ROUTE, BEARER, slow, channel=channel)
        )
        self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED, words)
        outgoing.put(b"after")
        outgoing.put(None)
        self.assertEqual(list(beside), [b"after"])

    def test_refusals_have_the_status_that_gRPC_clients_expect(self):
        unknown = ("x-ms-aml-grpc-service-route", "/api/v1/service/nobody")
        malformed = ("x-ms-aml-grpc-service-route", "/api/v1/service/echo/%2e%2e/x")
        nonsense = ("x-ms-aml-grpc-service-route", "/nowhere")
        pinned = ("azureml-model-deployment", "nobody")
        wrong = ("authorization", "Bearer wrong")
        code = grpc.StatusCode
        for expected, metadata in (
            (code.NOT_FOUND, (unknown, BEARER)),
            (code.NOT_FOUND, (unknown,)),
            (code.NOT_FOUND, (ROUTE, BEARER, pinned)),
            (code.UNIMPLEMENTED, (BEARER,)),
            (code.UNIMPLEMENTED, (nonsense, BEARER)),
            (code.UNAUTHENTICATED, (ROUTE,)),
            (code.UNAUTHENTICATED, (ROUTE, wrong)),
            (code.INVALID_ARGUMENT, (malformed, BEARER)),
        ):
            with self.subTest(expected=expected, metadata=metadata):
                got, trailers, words = status_of(lambda: self.call(b"x", *metadata))
                self.assertEqual(got, expected, words)
                self.assertTrue(words)
                self.assertIn("x-request-id", trailers)

    def test_a_status_of_the_model_reaches_the_client(self):
        asked = ("x-model-status", "7")
        code, trailers, _ = status_of(lambda: self.call(b"x", ROUTE, BEARER, asked))
        self.assertEqual(code, grpc.StatusCode.PERMISSION_DENIED)
        self.assertEqual(trailers["x-model-trailer"], "yes")

    def test_a_model_that_takes_longer_than_requestTimeout_is_a_deadline(self):
        slow = ("x-model-latency", "4s")
        code, _, words = status_of(lambda: self.call(b"x", ROUTE, BEARER, slow))
        self.assertEqual(code, grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertIn("requestTimeout", words)

    def test_a_silent_stream_is_ended_as_a_deadline(self):
        outgoing = queue.Queue()
        stub = self.channel().stream_stream(METHOD)
        answers = stub(iter(outgoing.get, None), metadata=(ROUTE, BEARER), timeout=TIME_LIMIT)
        outgoing.put(b"once")
        self.assertEqual(next(answers), b"once")
        code, _, words = status_of(lambda: answers)
        self.assertEqual(code, grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertIn("streamIdleTimeout", words)
        outgoing.put(None)

    def test_an_overloaded_endpoint_says_when_to_come_back(self):
        channel = self.channel()
        streams = []
        stub = channel.stream_stream(METHOD)
        for _ in range(2):
            outgoing = queue.Queue()
            outgoing.put(b"mine")
            answers = stub(iter(outgoing.get, None), metadata=(ROUTE, BEARER), timeout=TIME_LIMIT)
            self.assertEqual(next(answers), b"mine")
            streams.append((outgoing, answers))
        code, trailers, words = status_of(lambda: self.call(b"x", channel=channel))
        self.assertEqual(code, grpc.StatusCode.UNAVAILABLE)
        self.assertIn("overloaded", words)
        self.assertGreaterEqual(int(trailers["grpc-retry-pushback-ms"]), 1)
        # One leaves, one ends well: both slots are free again, at once.
        streams[0][1].cancel()
        streams[1][0].put(None)
        self.assertEqual(list(streams[1][1]), [])
        self.assertEqual(self.call(b"x", channel=channel), b"x")
        self.assertEqual(self.call(b"x", channel=channel), b"x")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
