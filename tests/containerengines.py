# SPDX-License-Identifier: Apache-2.0
"""podman and Docker as people use them with an image of ours: load it, run it. Each in a folder of its own, without any network."""
import os
import pathlib
import subprocess

from system import ROOT, wait_until

SCRIPTS = ROOT / "tests" / "kube"
# Without a network, and what a process may open is left to us: an engine would raise it over what this machine allows.
SEALED = ["--rm", "--network", "none", "--read-only", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]


class Engine:
    """Its programs are Debian's, unpacked by tests/kube/engines."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.programs = pathlib.Path(subprocess.run([SCRIPTS / "engines"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
        beside = subprocess.run([SCRIPTS / "build"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        self.runtime = pathlib.Path(beside) / "runc"
        self.env = {"PATH": f"{beside}:{self.programs}/usr/bin:{self.programs}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "LD_LIBRARY_PATH": f"{self.programs}/usr/lib/x86_64-linux-gnu:{self.programs}/lib/x86_64-linux-gnu",
                    "HOME": str(folder), "TMPDIR": str(folder), "XDG_RUNTIME_DIR": str(folder)}

    def told(self, *argv, code=0):
        """Both outputs of a command that ends with the code."""
        done = subprocess.run([*self.command, *map(str, argv)], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
        assert done.returncode == code, f"{argv}: {done.returncode}: {done.stdout}"
        return done.stdout

    def load(self, archive):
        return self.told("load", "-q", "-i", archive)

    def run(self, reference, *command, code=0):
        """With the image's own entry point, or the command in its place."""
        entry = ["--entrypoint", command[0]] if command else []
        return self.told("run", *SEALED, *entry, reference, *command[1:], code=code)


class Podman(Engine):
    def __init__(self, folder):
        super().__init__(folder)
        (self.folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (self.folder / "containers.conf").write_text(
            f'[containers]\nseccomp_profile = "{self.programs}/usr/share/containers/seccomp.json"\n')
        self.env["CONTAINERS_CONF"] = str(self.folder / "containers.conf")
        self.command = [self.programs / "usr/bin/podman", "--root", self.folder / "root", "--runroot", self.folder / "run",
                        "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", self.runtime,
                        "--conmon", self.programs / "usr/bin/conmon"]

    def load(self, archive):
        return self.told("load", "-q", "--signature-policy", self.folder / "policy.json", "-i", archive)

    def stop(self):
        self.told("system", "reset", "--force")


class Docker(Engine):
    def __init__(self, folder):
        super().__init__(folder)
        socket = f"unix://{self.folder}/sock"
        self.command = [self.programs / "usr/bin/docker", "--host", socket]
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            [self.programs / "usr/sbin/dockerd", "--host", socket, "--data-root", self.folder / "data", "--exec-root",
             self.folder / "exec", "--pidfile", self.folder / "pid", "--bridge=none", "--iptables=false", "--ip-forward=false",
             "--userland-proxy=false"], env=self.env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until("dockerd answers", self.answers, 60, 0.1)

    def answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
        return subprocess.run([*self.command, "version"], env=self.env, capture_output=True, check=False).returncode == 0

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0
        self.log.close()
        subprocess.run(["umount", "-q", "-R", self.folder / "data"], check=False)
        assert not os.path.ismount(self.folder / "data")
