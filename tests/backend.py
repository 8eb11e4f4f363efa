# SPDX-License-Identifier: Apache-2.0
"""Where the programs of every system under test run: in pods of this machine, or of a Kubernetes made for the tests (pytest
--backend kubernetes). Tests do not ask: System and Plant give their processes these settings before a test's own."""

settings = {}  # of no effect for this machine
START_S = 180.0  # a whole system is ready: a pod of a busy cluster takes its time


def use(more):
    """From now on, for every system that is started."""
    settings.update(more)


def is_kubernetes():
    return settings.get("POD_BACKEND") == "kubernetes"
