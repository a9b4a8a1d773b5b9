"""Sends one message with smtplib. Its one argument is JSON; any reply that is not a success ends it with that reply.

{"port", "tls": "none" | "starttls" | "implicit", "ca": file, "auth": null | [mechanism, user, password], "from",
"parameters": [], "to": [[address, [parameters]]], "file": octets of the message, "bdat": null | octets per chunk,
"pipelining": bool}
"""

import json
import smtplib
import ssl
import sys

job = json.loads(sys.argv[1])
context = ssl.create_default_context(cafile=job["ca"]) if job["tls"] != "none" else None
if job["tls"] == "implicit":
    client = smtplib.SMTP_SSL("127.0.0.1", job["port"], local_hostname="client.test", context=context)
else:
    client = smtplib.SMTP("127.0.0.1", job["port"], local_hostname="client.test")


def expect(answer, *codes):
    if answer[0] not in codes:
        sys.exit(f"{answer[0]} {answer[1].decode(errors='replace')}")


expect(client.ehlo(), 250)
if job["tls"] == "starttls":
    expect(client.starttls(context=context), 220)
    expect(client.ehlo(), 250)
if job["auth"]:
    mechanism, client.user, client.password = job["auth"]
    try:
        expect(client.auth(mechanism, {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}[mechanism]), 235)
    except smtplib.SMTPAuthenticationError as refused:
        expect((refused.smtp_code, refused.smtp_error), 235)
octets = open(job["file"], "rb").read()
offered = set(client.esmtp_features)
if job["bdat"]:
    assert "chunking" in offered, offered
if job["pipelining"]:
    assert "pipelining" in offered, offered
    lines = [" ".join([f"MAIL FROM:<{job['from']}>"] + job["parameters"])]
    lines += [" ".join([f"RCPT TO:<{address}>"] + parameters) for address, parameters in job["to"]]
    lines += ["DATA"] if not job["bdat"] else []
    client.send("".join(line + "\r\n" for line in lines).encode())
    for line in lines:
        expect(client.getreply(), 354 if line == "DATA" else 250)
    if not job["bdat"]:
        # The way smtplib's own data() does it, which would say DATA again.
        body = smtplib._quote_periods(octets)
        client.send(body + (b"" if body.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        expect(client.getreply(), 250)
else:
    expect(client.mail(job["from"], job["parameters"]), 250)
    for address, parameters in job["to"]:
        expect(client.rcpt(address, parameters), 250)
    if not job["bdat"]:
        expect(client.data(octets), 250)
if job["bdat"]:
    size = job["bdat"]
    chunks = [octets[at : at + size] for at in range(0, len(octets), size)] or [b""]
    for number, chunk in enumerate(chunks):
        last = " LAST" if number + 1 == len(chunks) else ""
        client.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
        if not job["pipelining"]:
            expect(client.getreply(), 250)
    for _ in chunks if job["pipelining"] else []:
        expect(client.getreply(), 250)
client.quit()
