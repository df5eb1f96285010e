"""A call in three languages, ready to paste: with placeholders where the caller's own key stands, never with a key."""

import json
import shlex
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.template import Context, Engine

KEY_ID = "ak-…"


@dataclass(frozen=True, slots=True)
class Snippet:
    name: str
    text: str


def snippets(root: str, service: str, operation: str, question: dict[str, Any], *, sandbox: bool) -> list[Snippet]:
    """curl with openssl, Python, Java: the same question to the sandbox or to production."""
    path = f"/gateway{'/sandbox' if sandbox else ''}/v1/services/{service}/{operation}"
    body = json.dumps(question, ensure_ascii=False)
    authority = urlsplit(root).netloc.lower().removesuffix(":80").removesuffix(":443")
    values = {
        "root": root,
        "authority": authority,
        "path": path,
        "service": service,
        "operation": operation,
        "sandbox": sandbox,
        "body": shlex.quote(body),
        "java_body": json.dumps(body, ensure_ascii=False),
        "arguments": _arguments(question),
        "key": KEY_ID,
    }
    return [
        Snippet("curl + openssl", _CURL.render(Context(values, autoescape=False))),
        Snippet("Python", _PYTHON.render(Context(values, autoescape=False))),
        Snippet("Java 11+", _JAVA.render(Context(values, autoescape=False))),
    ]


def _arguments(question: dict[str, Any]) -> str:
    """A question as arguments of `GatewayClient`; a page of a list is asked page by page."""
    lines = []
    for name, value in question.items():
        if name == "page":
            lines.append(f"page_size={value.get('size')!r}")
        elif value not in ("", None):
            lines.append(f"{name}={value!r}")
    return ",\n        ".join(lines)


_ENGINE = Engine()
_CURL = _ENGINE.from_string(
    """#!/bin/sh
KEY_ID='{{ key }}'          # 密钥标识
SECRET=$(cat secret.txt)    # 签发时保存的密钥
BODY={{ body }}
DIGEST="sha-256=:$(printf %s "$BODY" | openssl dgst -sha256 -binary | base64):"
PARAMS='("@method" "@authority" "@path" "@query" "content-digest" "content-type")'
PARAMS="$PARAMS;created=$(date +%s);nonce=\\"$(openssl rand -hex 16)\\";keyid=\\"$KEY_ID\\";alg=\\"hmac-sha256\\";tag=\\"jinqiao\\""
BASE="\\"@method\\": POST
\\"@authority\\": {{ authority }}
\\"@path\\": {{ path }}
\\"@query\\": ?
\\"content-digest\\": $DIGEST
\\"content-type\\": application/json
\\"@signature-params\\": $PARAMS"
SIGNATURE=$(printf %s "$BASE" | openssl dgst -sha256 -hmac "$SECRET" -binary | base64)
curl -sS '{{ root }}{{ path }}' -H 'Content-Type: application/json' -H "Content-Digest: $DIGEST" \\
  -H "Signature-Input: jinqiao=$PARAMS" -H "Signature: jinqiao=:$SIGNATURE:" --data-binary "$BODY"
"""
)
_PYTHON = _ENGINE.from_string(
    """from pathlib import Path

from jinqiao.dataplane.client import GatewayClient

secret = Path("secret.txt").read_text().strip()
with GatewayClient("{{ root }}", key_id="{{ key }}", secret=secret{% if sandbox %}, sandbox=True{% endif %}) as gateway:
    answer = {% if operation == "list" %}[*{% endif %}gateway.{{ operation }}(
        "{{ service }}",
        {{ arguments }},
    ){% if operation == "list" %}]{% endif %}
print(answer)
"""
)
_JAVA = _ENGINE.from_string(
    """import java.net.URI;
import java.net.http.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Call {
    public static void main(String[] arguments) throws Exception {
        String keyId = "{{ key }}";
        String secret = Files.readString(Path.of("secret.txt")).trim();
        String path = "{{ path }}";
        String body = {{ java_body }};
        Base64.Encoder base64 = Base64.getEncoder();
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        String digest = "sha-256=:" + base64.encodeToString(MessageDigest.getInstance("SHA-256").digest(bytes)) + ":";
        byte[] random = new byte[16];
        new SecureRandom().nextBytes(random);
        String nonce = Base64.getUrlEncoder().withoutPadding().encodeToString(random);
        String parameters = "(\\"@method\\" \\"@authority\\" \\"@path\\" \\"@query\\" \\"content-digest\\" \\"content-type\\")"
            + ";created=" + System.currentTimeMillis() / 1000 + ";nonce=\\"" + nonce + "\\";keyid=\\"" + keyId
            + "\\";alg=\\"hmac-sha256\\";tag=\\"jinqiao\\"";
        String base = "\\"@method\\": POST\\n\\"@authority\\": {{ authority }}\\n\\"@path\\": " + path + "\\n\\"@query\\": ?\\n"
            + "\\"content-digest\\": " + digest + "\\n\\"content-type\\": application/json\\n"
            + "\\"@signature-params\\": " + parameters;
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
        String signature = base64.encodeToString(mac.doFinal(base.getBytes(StandardCharsets.UTF_8)));
        HttpRequest request = HttpRequest.newBuilder(URI.create("{{ root }}" + path))
            .header("Content-Type", "application/json").header("Content-Digest", digest)
            .header("Signature-Input", "jinqiao=" + parameters).header("Signature", "jinqiao=:" + signature + ":")
            .POST(HttpRequest.BodyPublishers.ofByteArray(bytes)).build();
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode() + " " + answer.body());
    }
}
"""
)
