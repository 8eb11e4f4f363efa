# SPDX-License-Identifier: Apache-2.0
"""An HTTP client that holds every request and answer of a test against schema/openapi.yaml."""
import json
import re
import textwrap

import httpx
import jsonschema
import referencing
import referencing.jsonschema
import yaml

from system import ROOT

DOCUMENT = yaml.safe_load((ROOT / "schema" / "openapi.yaml").read_text())
RESOURCE = referencing.Resource.from_contents(DOCUMENT, referencing.jsonschema.DRAFT202012)
REGISTRY = referencing.Registry().with_resource("urn:openapi", RESOURCE)


def resolved(node):
    while "$ref" in node:
        target = DOCUMENT
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def absolute(node):
    """The same schema, whose references find the document from outside."""
    if isinstance(node, dict):
        return {key: "urn:openapi" + value if key == "$ref" and value.startswith("#") else absolute(value)
                for key, value in node.items()}
    return [absolute(item) for item in node] if isinstance(node, list) else node


def check(value, schema, what):
    validator = jsonschema.Draft202012Validator(absolute(schema), registry=REGISTRY)
    faults = [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(value)]
    assert not faults, f"{what} is not what openapi.yaml says: {faults}: {str(value)[:600]}"


def operation(method, path):
    for pattern, item in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            return resolved(item).get(method.lower())
    return None


def check_answer(response):
    request = response.request
    described = operation(request.method, request.url.path)
    if described is None:
        return  # tests of unknown routes and methods
    what = f"{response.status_code} of {request.method} {request.url.path}"
    assert str(response.status_code) in described["responses"], f"{what} is not described"
    content = resolved(described["responses"][str(response.status_code)]).get("content", {})
    kind = response.headers.get("content-type", "").split(";")[0]
    if kind == "text/event-stream" or not content:
        return
    assert kind in content or "*/*" in content, f"{what} has the type {kind}"
    response.read()
    if kind in content and kind == "application/json":
        check(json.loads(response.content), content[kind]["schema"], what)


EVENT = jsonschema.Draft202012Validator(json.loads((ROOT / "schema" / "event.schema.json").read_text()))


def check_event(event):
    """As openapi.yaml describes it, and of a type that the table of events has."""
    check(event, {"$ref": "#/components/schemas/Event"}, f"event {event}")
    faults = [error.message for error in EVENT.iter_errors(event)]
    assert not faults, f"event {event} is not what event.schema.json says: {faults}"


class Api(httpx.Client):
    """One API process, or several in turn (next_url of a System)."""

    def __init__(self, system, key=None, url=None):
        self.system, self.only = system, url
        super().__init__(timeout=60, headers={"x-api-key": key or system.key},
                         event_hooks={"response": [check_answer]})

    def request(self, method, url, **more):
        base = self.only or self.system.next_url()
        return super().request(method, base + url if url.startswith("/") else url, **more)

    def exec(self, lang, code, **more):
        answer = self.post("/exec", json={"lang": lang, "code": code, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, lang, code, headers=None, **more):
        answer = self.post("/v1/jobs", json={"lang": lang, "code": code, **more}, headers=headers)
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/v1/jobs/{answer.json()['job_id']}"
        return answer.json()["job_id"]

    def job(self, job):
        answer = self.get(f"/v1/jobs/{job}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def events(self, job, after="", wait=10):
        """All events to the end of the job, by long-poll."""
        found = []
        while True:
            page = self.get(f"/v1/jobs/{job}/events", params={"after": after, "wait": wait} if after else {"wait": wait})
            assert page.status_code == 200, page.text
            found += page.json()["events"]
            after = page.json()["next"]
            if page.json()["done"]:
                return found

    def wait(self, job):
        """The job, once it has ended."""
        self.events(job)
        return self.job(job)


class Session:
    """Runs of one language, one after the other, in the session that the first one made; `always` goes with each."""

    def __init__(self, api, lang="py", **always):
        self.api, self.lang, self.always, self.id = api, lang, always, None

    def __call__(self, code, **more):
        if self.id:
            more = {"session_id": self.id, **more}
        body = self.api.exec(self.lang, textwrap.dedent(code), **{**self.always, **more})
        self.id = body["session_id"]
        return body

    def prints(self, code, **more):
        body = self(code, **more)
        assert body["exit_code"] == 0, body["stderr"]
        return body["stdout"].strip()
