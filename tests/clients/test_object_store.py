"""Data in a bucket of an S3 server that others made (moto): training, evaluation and scoring as from files, and errors."""

import logging
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from server import NCS, ncs

KEY = {"AWS_ACCESS_KEY_ID": "key-of-the-tests", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests"}
BUCKET = "logs"
SETS = [
    "threads=1",
    "network.kind=shared_bottom",
    "network.hidden=[16]",
    "training.epochs=1",
    "evaluation.bootstrap=0",
]


def setUpModule():
    global folder, moto, endpoint
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # A line for each request.
    folder = Path(tempfile.mkdtemp(prefix="ncs-object-store-"))
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    ncs("synth", "--rows", "6000", "--out", "log", folder=folder)
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEY["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET)
    for part in ["train", "valid", "test"]:
        client.upload_file(str(folder / f"log/{part}.parquet"), BUCKET, f"{part}/day=2026-11-28/rows a.parquet")
        client.put_object(Bucket=BUCKET, Key=f"{part}/_SUCCESS", Body=b"")


def tearDownModule():
    moto.stop()
    shutil.rmtree(folder)


def run(*arguments):
    """Runs `ncs` with the credentials of the store."""
    env = {**os.environ, **KEY, "AWS_ENDPOINT": endpoint, "AWS_ALLOW_HTTP": "true"}
    return subprocess.run([NCS, *arguments], cwd=folder, env=env, capture_output=True, text=True)


def train(out, **data):
    sets = [*SETS, *(f'data.{part}="{path}"' for part, path in data.items())]
    return run("train", "log/run.toml", "--out", out, *(word for text in sets for word in ("--set", text)))


class ObjectStore(unittest.TestCase):
    def test_a_bucket_is_read_as_files_are(self):
        files = train("files")
        self.assertEqual(files.returncode, 0, files.stderr)
        bucket = train(
            "bucket",
            train=f"s3://{BUCKET}/train/",
            valid=f"s3://{BUCKET}/valid/day=*/*.parquet",
            test=f"s3://{BUCKET}/test/day=2026-11-28/rows a.parquet",
        )
        self.assertEqual(bucket.returncode, 0, bucket.stderr)
        weights = [(folder / out / "model/weights.safetensors").read_bytes() for out in ["files", "bucket"]]
        self.assertEqual(*weights)
        scored = run("score", "bucket", "--data", f"s3://{BUCKET}/test", "--out", "scores.parquet")
        self.assertEqual(scored.returncode, 0, scored.stderr)

    def test_errors_name_the_object_and_no_secret(self):
        for path, part in [
            (f"s3://{BUCKET}/none.parquet", "there is no such object"),
            (f"s3://{BUCKET}/none/*.parquet", "no such file, and no glob or folder"),
            ("s3://another/train/", "s3://another/train"),
        ]:
            done = train("refused", train=path)
            self.assertEqual(done.returncode, 1, path)
            self.assertIn(part, done.stderr)
            self.assertNotIn(KEY["AWS_SECRET_ACCESS_KEY"], done.stderr)
