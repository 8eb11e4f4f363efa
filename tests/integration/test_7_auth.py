# SPDX-License-Identifier: Apache-2.0
"""Who may come in, and as whom: keys in every place, LibreChat's signed tokens, trusted networks, no authentication."""
import base64
import json
import subprocess
import time

import httpx
import pytest

from conftest import finish
from contract import Api
from system import System

ISSUED = {"iss": "librechat", "aud": "codeapi", "sub": "665f0c2e9b1d4a0012ab34cd", "tenant_id": "legacy", "role": "USER",
          "principal_source": "librechat_jwt", "jti": "0d7b6c1e-8f2a-4b4e-9a55-2f4f7d1c9e10"}


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


KINDS = {"EdDSA": (["ed25519"], ["-rawin"]),
         "RS256": (["rsa", "-pkeyopt", "rsa_keygen_bits:2048"], ["-rawin", "-digest", "sha256"])}


class Signer:
    """A key, and tokens as LibreChat mints them."""

    def __init__(self, directory, algorithm="EdDSA"):
        self.algorithm, self.key, self.input = algorithm, directory / f"{algorithm}.pem", directory / "input"
        self.openssl("genpkey", "-algorithm", *KINDS[algorithm][0], "-out", self.key)
        self.public = self.openssl("pkey", "-in", self.key, "-pubout").decode()

    @staticmethod
    def openssl(*argv):
        return subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True).stdout

    def token(self, header=None, **changed):
        now = int(time.time())
        claims = {**ISSUED, "iat": now, "nbf": now, "exp": now + 300, **changed}
        head = {"alg": self.algorithm, "typ": "JWT", "kid": "lc-codeapi-2026-05", **(header or {})}
        signed = f"{url64(json.dumps(head).encode())}.{url64(json.dumps(claims).encode())}"
        self.input.write_text(signed)
        return f"{signed}.{url64(self.openssl('pkeyutl', '-sign', '-inkey', self.key, *KINDS[self.algorithm][1], '-in', self.input))}"

    @property
    def jwk(self):
        if self.algorithm == "EdDSA":
            return {"kty": "OKP", "crv": "Ed25519", "x": url64(base64.b64decode("".join(self.public.splitlines()[1:-1]))[-32:])}
        modulus = self.openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().split("=")[1].strip()
        return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one", "e": "AQAB", "n": url64(bytes.fromhex(modulus))}


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return Signer(tmp_path_factory.mktemp("signer"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, cluster, signer):
    """The key of the tenant `default`, one of `acme`, and tokens; tenant_id `acme-id` is `acme`."""
    made = System(tmp_path_factory.mktemp("guarded"), cluster=cluster, env={
        "API_KEYS": "acme:acme-key-0123456789", "CODEAPI_JWT_PUBLIC_KEY": signer.public.replace("\n", "\\n"),
        "CODEAPI_JWT_TENANTS": "legacy:default,acme-id:acme"})
    yield made
    finish(made)


def run(system, headers=None, more=None, **options):
    return httpx.post(system.url + "/v1/exec", headers=headers, json={"lang": "py", "code": "print(1)", **(more or {})},
                      timeout=60, **options)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_keys_in_every_place(guarded):
    key = guarded.key
    plain, colon = (base64.b64encode(text.encode()).decode() for text in (key, f"{key}:"))
    for headers in ({"x-api-key": key}, bearer(key), {"Authorization": f"ApiKey {key}"}, {"Authorization": f"Basic {plain}"},
                    {"Authorization": f"Basic {colon}"}):
        assert run(guarded, headers).status_code == 200, headers
    for name in ("LIBRECHAT_CODE_API_KEY", "api_key", "apiKey"):
        assert run(guarded, more={name: key}).json()["stdout"] == "1\n"
        assert run(guarded, more={name: key + "x"}).status_code == 401


def test_a_body_without_a_key_is_read_only_so_far(guarded):
    assert run(guarded).status_code == 401
    assert run(guarded, more={"pad": "x" * (2 << 20)}).status_code == 413
    assert run(guarded, {"x-api-key": guarded.key}, more={"pad": "x" * (2 << 20)}).status_code == 200


def test_a_token_is_let_in_and_names_its_user(guarded, signer):
    assert run(guarded, bearer(signer.token())).json()["stdout"] == "1\n"


def test_tokens_that_are_refused(guarded, signer):
    now = int(time.time())
    good = signer.token()
    head, claims, signature = good.split(".")
    bad = {
        "expired": signer.token(iat=now - 400, nbf=now - 400, exp=now - 100),
        "not yet": signer.token(iat=now + 200, nbf=now + 200, exp=now + 400),
        "too long": signer.token(exp=now + 4000),
        "audience": signer.token(aud="other"), "issuer": signer.token(iss="other"), "no user": signer.token(sub=""),
        "another's": f"{head}.{url64(json.dumps({**ISSUED, 'sub': 'x'}).encode())}.{signature}",
        "none": f"{url64(json.dumps({'alg': 'none'}).encode())}.{claims}.",
        "alg": signer.token(header={"alg": "HS256"}), "crit": signer.token(header={"crit": ["x"]}),
        "cut": good[:-10], "text": "a.b.c", "dots": "...", "long": "a." * 20000,
    }
    answers = {what: run(guarded, bearer(token)).status_code for what, token in bad.items() if what != "long"}
    assert answers == dict.fromkeys(answers, 401)
    assert run(guarded, bearer(bad["long"])).status_code in (401, 431)
    answer = run(guarded, bearer(bad["expired"]))
    assert answer.headers["www-authenticate"] == "Bearer" and "expired" not in answer.text


def test_the_tenant_of_key_and_token_is_one(guarded, signer):
    """What the key submitted is seen with the token of the same installation, and by nobody else."""
    with Api(guarded, key="acme-key-0123456789") as acme:
        job = acme.submit("py", "print('mine')")
        acme.wait(job)
    def seen(tenant):
        return httpx.get(f"{guarded.url}/v1/jobs/{job}", headers=bearer(signer.token(tenant_id=tenant)), timeout=60).status_code
    assert (seen("acme-id"), seen("legacy"), seen("acme"), seen("stranger")) == (200, 404, 404, 404)


def test_a_user_does_not_see_what_another_has(guarded, signer):
    one, two = bearer(signer.token(sub="one")), bearer(signer.token(sub="two"))
    job = httpx.post(f"{guarded.url}/v1/jobs", headers=one, json={"lang": "bash", "code": "sleep 60"}, timeout=60).json()["job_id"]
    at = f"{guarded.url}/v1/jobs/{job}"
    assert httpx.get(at, headers=two, timeout=60).status_code == 404
    assert httpx.get(at + "/events", headers=two, timeout=60).status_code == 404
    assert httpx.delete(at, headers=two, timeout=60).status_code == 404
    assert job not in httpx.get(f"{guarded.url}/v1/jobs", headers=two, timeout=60).text
    assert job in httpx.get(f"{guarded.url}/v1/jobs", headers=one, timeout=60).text
    assert httpx.get(at, headers={"x-api-key": guarded.key}, timeout=60).status_code == 200  # the installation's own key
    assert httpx.delete(at, headers=one, timeout=60).status_code in (200, 202)


def test_files_of_a_user_are_unknown_to_another(guarded, signer):
    """Every route, for reading, adding and running; what belongs to a skill or an agent is the whole tenant's."""
    one, two = bearer(signer.token(sub="one")), bearer(signer.token(sub="two"))

    def upload(headers, **fields):
        answer = httpx.post(f"{guarded.url}/upload", headers=headers, data=fields, files={"file": ("f.txt", b"mine")}, timeout=60)
        return answer, answer.json().get("session_id"), (answer.json().get("files") or [{}])[0].get("fileId")

    def codes(headers, session, file):
        ref = {"id": file, "session_id": session, "name": "f.txt"}
        at = guarded.url
        ran = run(guarded, headers, {"lang": "bash", "code": "cat f.txt", "files": [ref]}).json()
        return [httpx.get(f"{at}/download/{session}/{file}", headers=headers, timeout=60).status_code, httpx.get(f"{at}/files/{session}", headers=headers, timeout=60).status_code,
                httpx.get(f"{at}/sessions/{session}/objects/{file}", headers=headers, timeout=60).status_code, ran["stdout"]]
    _, session, file = upload(one, kind="user", id="one")
    assert codes(one, session, file) == codes({"x-api-key": guarded.key}, session, file) == [200, 200, 200, "mine"]
    assert codes(two, session, file) == codes(two, "z" * 21, "z" * 21) == [404, 404, 404, ""]
    assert upload(two, session_id=session)[0].status_code == 404 and upload(one, session_id=session)[0].status_code == 200
    assert httpx.delete(f"{guarded.url}/files/{session}/{file}", headers=two, timeout=60).status_code == 404
    assert codes(one, session, file)[0] == 200
    for fields in ({"kind": "skill", "id": "s", "version": "1"}, {"kind": "agent", "id": "agent_x"}, {"entity_id": "agent_x"}):
        _, session, file = upload(one, **fields)
        assert codes(two, session, file) == [200, 200, 200, "mine"]


def test_a_paused_program_of_a_user_is_not_continued_by_another(guarded, signer):
    one, two = bearer(signer.token(sub="one")), bearer(signer.token(sub="two"))
    at = f"{guarded.url}/exec/programmatic"
    told = httpx.post(at, headers=one, json={"code": "print(await t())", "tools": [{"name": "t"}], "timeout": 15000}, timeout=60).json()
    body = {"continuation_token": told["continuation_token"], "tool_results": [{"call_id": "call_001", "result": 1}]}
    assert httpx.post(at, headers=two, json=body, timeout=60).status_code == 404
    assert httpx.post(at, headers=one, json=body, timeout=60).json()["stdout"] == "1\n"


def test_the_token_says_who_it_is(guarded, signer):
    """Both are valid: the job is the token's tenant's."""
    both = {**bearer(signer.token(tenant_id="acme-id")), "x-api-key": guarded.key}
    job = httpx.post(f"{guarded.url}/v1/jobs", headers=both, json={"lang": "py", "code": "1"}, timeout=60).json()["job_id"]
    assert httpx.get(f"{guarded.url}/v1/jobs/{job}", headers={"x-api-key": guarded.key}, timeout=60).status_code == 404
    assert httpx.get(f"{guarded.url}/v1/jobs/{job}", headers={"x-api-key": "acme-key-0123456789"}, timeout=60).status_code == 200
    wrong = {**bearer(signer.token(aud="other")), "x-api-key": guarded.key}
    assert run(guarded, wrong).status_code == 200  # any valid one is enough


def test_a_set_of_keys_with_the_algorithm_pinned(tmp_path, make_system, signer):
    """RS256 from a file that also has LibreChat's other key, which is of no use here."""
    rsa, other = Signer(tmp_path, "RS256"), Signer(tmp_path, "EdDSA")
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [other.jwk, rsa.jwk]}))
    system = make_system(env={"CODEAPI_JWT_PUBLIC_JWK_JSON": str(tmp_path / "keys.json"), "CODEAPI_JWT_ALGORITHM": "RS256",
                              "CODEAPI_JWT_KID": "lc-codeapi-2026-05"})
    now = int(time.time())
    assert run(system, bearer(rsa.token())).json()["stdout"] == "1\n"
    assert run(system, bearer(rsa.token(iat=now - 200, nbf=now - 200, exp=int(time.time()) - 1))).status_code == 200  # within the leeway of 30 s
    refused = {"expired": rsa.token(iat=now - 360, nbf=now - 360, exp=now - 60), "EdDSA": other.token(), "kid": rsa.token(header={"kid": "x"}),
               "said": other.token(header={"alg": "RS256"}), "HS256": rsa.token(header={"alg": "HS256"}), "none": rsa.token(header={"alg": "none"})}
    assert {what: run(system, bearer(token)).status_code for what, token in refused.items()} == dict.fromkeys(refused, 401)


def test_one_key_as_json(make_system, signer):
    system = make_system(env={"CODEAPI_JWT_PUBLIC_JWK_JSON": json.dumps(signer.jwk)})
    assert run(system, bearer(signer.token())).json()["stdout"] == "1\n"
    assert run(system, bearer(signer.token()[:-4] + "AAAA")).status_code == 401


@pytest.mark.parametrize("setting", [{"AUTH_TRUSTED_NETWORKS": "127.0.0.0/8"}, {"AUTH_ENABLED": "false"}])
def test_without_any_credential(make_system, setting):
    system = make_system(env={**setting})
    assert run(system).json()["stdout"] == "1\n"
    assert run(system, {"x-api-key": "wrong"}).status_code == 200
    assert run(system, {"x-forwarded-for": "192.0.2.1"}).status_code == 200


def test_many_wrong_keys_from_one_address(make_system):
    """H69. How many exactly, and when again: tests/unit/test_api_wrong_keys.c."""
    most, system = 20, make_system(workers=0, apis=1, env={"AUTH_WRONG_KEYS_PER_MINUTE": "20"})

    def look(client, key, number=0):
        headers = {"x-api-key": key, "x-forwarded-for": f"192.0.2.{number}"} if key else {}
        return client.get(f"{system.url}/v1/jobs", headers=headers)
    with httpx.Client(timeout=60) as here, httpx.Client(timeout=60, transport=httpx.HTTPTransport(local_address="127.0.0.2")) as there:
        assert [look(here, f"wrong-key-number-{n}", n).status_code for n in range(5)] == [401] * 5
        began, answer, tried = time.monotonic(), None, 5
        while answer is None or answer.status_code == 401:
            answer, tried = look(here, f"wrong-key-number-{tried}", tried % 256), tried + 1
            assert tried <= most * (2 + (time.monotonic() - began) // 60)
        assert answer.status_code == 429 and 1 <= int(answer.headers["retry-after"]) <= 60
        assert (answer.json()["error"], answer.json()["error_type"]) == ("rate_limited", "wrong_keys")
        assert look(here, None).status_code == 401  # who sends none does not guess
        assert look(here, system.key).status_code == 200
        assert look(there, system.key).status_code == 200 and look(there, "wrong-key").status_code == 401
