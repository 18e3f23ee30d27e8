"""Both clients over TLS, with a certificate of an authority made up for the test."""

import unittest

import gevent.ssl
import numpy as np
import requests
import trustme
from tritonclient.utils import InferenceServerException

from server import MODEL, TOKEN, WAIT, Grpc, Http, Server, world


def setUpModule():
    global served, authority
    folder = world().folder
    authority = str(folder / "authority.pem")
    made_up = trustme.CA()
    made_up.cert_pem.write_to_path(authority)
    issued = made_up.issue_cert("127.0.0.1")
    for part, name in [(issued.cert_chain_pems, "chain.pem"), ([issued.private_key_pem], "key.pem")]:
        (folder / name).write_bytes(b"".join(pem.bytes() for pem in part))
    tls = ["--tls-certificate", "chain.pem", "--tls-key", "key.pem"]
    served = Server(MODEL, *tls, folder=folder)


def tearDownModule():
    status = served.stop()
    assert status == 0, f"ncs serve ended with {status}"


class Tls(unittest.TestCase):
    def check(self, over, client):
        self.addCleanup(client.close)
        self.assertTrue(client.is_server_ready())
        question = world().question()
        inputs = [over.input(name, array) for name, array in question.arrays().items()]
        scores = client.infer(MODEL, inputs).as_numpy("ctr")
        np.testing.assert_allclose(scores, question.expected["2"][:, 0], rtol=0, atol=1e-6)

    def http(self, address):
        options = {"ca_certs": authority, "cert_reqs": gevent.ssl.CERT_REQUIRED}
        return Http.client(address, ssl=True, ssl_options=options)

    def test_http(self):
        self.check(Http, self.http(served.http))

    def test_grpc(self):
        self.check(Grpc, Grpc.client(served.grpc, ssl=True, root_certificates=authority))

    def test_the_admin_port(self):
        headers = {"authorization": f"Bearer {TOKEN}"}
        for client in [
            self.http(served.admin),
            Grpc.client(served.admin, ssl=True, root_certificates=authority),
        ]:
            self.addCleanup(client.close)
            client.load_model(MODEL, headers=headers)

    def test_rank(self):
        question = world().question()
        path = f"https://{served.http}/v2/rank"
        answer = requests.post(path, json=question.body(), verify=authority, timeout=WAIT)
        scores = answer.json()["scores"]["ctr"]
        np.testing.assert_allclose(scores, question.expected["2"][:, 0], rtol=0, atol=1e-6)

    def test_an_unknown_authority_and_plain_text_get_nothing(self):
        with self.assertRaises(requests.exceptions.SSLError):
            requests.get(f"https://{served.http}/v2", timeout=WAIT)
        with self.assertRaises(requests.exceptions.ConnectionError):
            requests.get(f"http://{served.http}/v2", timeout=WAIT)
        client = Grpc.client(served.grpc)
        self.addCleanup(client.close)
        with self.assertRaises(InferenceServerException):
            client.is_server_live(client_timeout=2)
