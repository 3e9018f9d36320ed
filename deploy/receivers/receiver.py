"""Takes Comporta's deliveries and believes only genuine ones. Python 3.9+, nothing to install.

WEBHOOK_SECRET=whsec_… python3 receiver.py 9000    and have the webhook post to http://HOST:9000/
"""

import base64
import gzip
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ.get("WEBHOOK_SECRET") or sys.exit("WEBHOOK_SECRET is not set")
TOLERANCE = 5 * 60  # seconds a delivery may be old: what is older may be a recording


def verify(secret: str, headers, body: bytes) -> bool:
    """Whether `body` (after gzip) was signed with `secret`, just now. See standardwebhooks.com."""
    ident, when = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not when.isdecimal() or abs(time.time() - int(when)) > TOLERANCE:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{ident}.{when}.".encode() + body, hashlib.sha256).digest()
    wanted = b"v1," + base64.b64encode(digest)
    # Several while a secret is being rotated.
    signatures = headers.get("webhook-signature", "").encode().split()
    return any([hmac.compare_digest(wanted, given) for given in signatures])


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
        except (OSError, EOFError):
            return self.answer(400)
        if not verify(SECRET, self.headers, body):
            return self.answer(401)
        event = json.loads(body)
        # Put it into a queue or table of yours and answer at once. The id is the same on every
        # try: what you have already is a repetition.
        print(
            f"{event['id']} {event['event']}\n", end="", flush=True
        )  # in one piece: others print, too
        return self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1])), Receiver).serve_forever()
