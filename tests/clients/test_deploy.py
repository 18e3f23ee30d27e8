"""`deploy/kubernetes.yaml` and `deploy/mpijob.yaml`: Kubernetes knows every field, and `ncs` every argument."""

import shutil
import subprocess
import unittest
from pathlib import Path

import kubernetes_validate
import requests
import yaml

from server import MODEL, NCS, TOKEN, WAIT, Server, world

MANIFEST = Path(__file__).parents[2] / "deploy/kubernetes.yaml"
MPI_JOB = Path(__file__).parents[2] / "deploy/mpijob.yaml"
VERSIONS = ["1.30", "1.33", "1.37"]

# Fields of kubeflow.org/v2beta1 MPIJob, by the definition in github.com/kubeflow/mpi-operator, without those of pods.
MPI_JOB_FIELDS = {
    "spec": {
        "launcherCreationPolicy",
        "mpiImplementation",
        "mpiReplicaSpecs",
        "runLauncherAsWorker",
        "runPolicy",
        "slotsPerWorker",
        "sshAuthMountPath",
    },
    "runPolicy": {
        "activeDeadlineSeconds",
        "backoffLimit",
        "cleanPodPolicy",
        "managedBy",
        "schedulingPolicy",
        "suspend",
        "ttlSecondsAfterFinished",
    },
    "replica": {"replicas", "restartPolicy", "template"},
}


class Kubernetes(unittest.TestCase):
    def setUp(self):
        documents = list(yaml.safe_load_all(MANIFEST.read_text()))
        self.documents = documents
        self.by_kind = {document["kind"]: document for document in documents}
        self.pod = self.by_kind["Deployment"]["spec"]["template"]
        [self.container] = self.pod["spec"]["containers"]
        self.arguments = self.container["args"]

    def test_every_field_is_known(self):
        for version in VERSIONS:
            for document in self.documents:
                kubernetes_validate.validate(document, version, strict=True)

    def test_an_unknown_field_would_be_found(self):
        self.pod["spec"]["terminationGraceSeconds"] = 1
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(self.by_kind["Deployment"], VERSIONS[0], strict=True)

    def test_names_fit_each_other(self):
        labels = self.pod["metadata"]["labels"]
        for document in self.documents:
            selector = document["spec"].get("selector") or document["spec"].get("podSelector", {})
            self.assertEqual(selector.get("matchLabels", selector) or labels, labels)
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.assertEqual(ports, {"http": 8000, "grpc": 8001, "admin": 8002})
        used = [
            port["targetPort"]
            for document in self.documents
            if document["kind"] == "Service"
            for port in document["spec"]["ports"]
        ]
        self.assertEqual(used, ["http", "grpc"])
        annotations = self.pod["metadata"]["annotations"]
        self.assertEqual(annotations["prometheus.io/port"], str(ports["admin"]))
        volumes = {volume["name"] for volume in self.pod["spec"]["volumes"]}
        self.assertEqual({mount["name"] for mount in self.container["volumeMounts"]}, volumes)

    def test_there_is_time_to_end(self):
        seconds = dict(argument.split("=") for argument in self.arguments if "=" in argument)
        needed = float(seconds["--linger"]) + float(seconds["--drain"])
        self.assertGreater(self.pod["spec"]["terminationGracePeriodSeconds"], needed)

    def test_the_server_takes_the_arguments_and_answers_the_probes(self):
        folder = world().folder / "deployed"
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        for version in ["1", "2"]:
            model = world().folder / MODEL / version / "model"
            shutil.copytree(model, folder / "models" / MODEL / version)
        (folder / "secrets").mkdir()
        (folder / "secrets/admin-token").write_text(TOKEN)
        verb, *arguments = [
            argument.replace("/models", "models").replace("/secrets", "secrets")
            # The test does not wait that long, and no one else is to reach it.
            .replace("--linger=10", "--linger=0").replace("0.0.0.0", "127.0.0.1")
            for argument in self.arguments
        ]
        self.assertEqual(verb, "serve")
        served = Server(*arguments, folder=folder)
        try:
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"]:
                asked = self.container[probe]["httpGet"]
                self.assertEqual(asked["port"], "http")
                answer = requests.get(f"http://{served.http}{asked['path']}", timeout=WAIT)
                self.assertEqual(answer.status_code, 200)
            path = self.pod["metadata"]["annotations"]["prometheus.io/path"]
            answer = requests.get(f"http://{served.admin}{path}", timeout=WAIT)
            self.assertEqual(answer.status_code, 200)
        finally:
            self.assertEqual(served.stop(), 0)


class MpiJob(unittest.TestCase):
    def setUp(self):
        self.job = yaml.safe_load(MPI_JOB.read_text())
        self.replicas = self.job["spec"]["mpiReplicaSpecs"]

    def test_every_field_is_known(self):
        spec = self.job["spec"]
        self.assertEqual((self.job["apiVersion"], self.job["kind"]), ("kubeflow.org/v2beta1", "MPIJob"))
        self.assertLessEqual(set(spec), MPI_JOB_FIELDS["spec"])
        self.assertLessEqual(set(spec["runPolicy"]), MPI_JOB_FIELDS["runPolicy"])
        self.assertEqual(set(self.replicas), {"Launcher", "Worker"})
        for replica in self.replicas.values():
            self.assertLessEqual(set(replica), MPI_JOB_FIELDS["replica"])
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, **replica["template"]}
            for version in VERSIONS:
                kubernetes_validate.validate(pod, version, strict=True)

    def test_there_is_a_worker_for_each_rank(self):
        [launcher] = self.replicas["Launcher"]["template"]["spec"]["containers"]
        ranks = int(launcher["args"][launcher["args"].index("-n") + 1])
        slots = self.job["spec"]["slotsPerWorker"] * self.replicas["Worker"]["replicas"]
        self.assertEqual(ranks, slots)

    def test_the_program_takes_the_arguments(self):
        [launcher] = self.replicas["Launcher"]["template"]["spec"]["containers"]
        own = launcher["args"][launcher["args"].index("ncs") + 1 :]
        ended = subprocess.run([NCS, *own], capture_output=True, text=True, timeout=WAIT)
        # The run file is not here; arguments that are not known would end it with 2.
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertIn("/runs/run.toml", ended.stderr)
