"""Receives letters (aiosmtpd) and webhooks (checked by standardwebhooks), on two free ports of this machine. Says them, and then a line of JSON for each
thing that arrives. Lines of its input are the secrets that webhooks are checked with."""

import email
import email.policy
import http.server
import json
import socket
import sys
import threading

from aiosmtpd.controller import Controller
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

secrets = []
said = threading.Lock()


def say(**what):
    with said:
        print(json.dumps(what), flush=True)


class Letters:
    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        say(letter=letter.get_content(), subject=str(letter["subject"]), sender=envelope.mail_from, to=envelope.rcpt_tos, mime=letter.get_content_type())
        return "250 kept"


class Webhooks(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        fits = []
        for secret in secrets:
            try:
                Webhook(secret).verify(body, dict(self.headers))
                fits.append(True)
            except WebhookVerificationError as error:
                fits.append(str(error))
        self.send_response(204)
        self.end_headers()
        say(webhook=json.loads(body), fits=fits)

    def log_message(self, *_):
        pass


smtp = Controller(Letters(), hostname="127.0.0.1", port=0, ready_timeout=20)
# The controller tries to reach itself, and must know its port.
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    smtp.port = free.getsockname()[1]
smtp.start()
web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhooks)
threading.Thread(target=web.serve_forever, daemon=True).start()
say(smtp=smtp.port, http=web.server_address[1])
for line in sys.stdin:
    secrets.append(line.strip())
    say(secrets=len(secrets))
smtp.stop()
