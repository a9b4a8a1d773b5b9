"""A receiver made of aiosmtpd: offers what it is told to, fails as it is told to, writes down what it takes.

Its one argument is JSON: {"out": file, "offers": [words of EHLO], "tls": null | "offered" | "required",
"certificate": file, "key": file, "script": [[stage, what, times]]}. It prints its port, and then for each message
appends a line of JSON to `out` and writes its octets to a file that the line names. Stages: banner, ehlo, starttls, mail, rcpt, data, middle (of the text), end. `what` is a
reply (lines divided by \n; 421 closes) or HANGUP, STALL (never answers again) or HALFCLOSE (shuts its side and reads
on). `times` -1 is for ever. Behind a reply in the middle of the text the rest of it is read and not answered. aiosmtpd
knows neither DSN nor CHUNKING nor LIMITS; what is needed of them is added here.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP

OPTIONS = json.loads(sys.argv[1])
OFFERS = OPTIONS["offers"]
OUT = open(OPTIONS["out"], "a")
TAKEN = 0


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        responses = [line for line in responses if not line[4:].startswith(("AUTH", "HELP", "SIZE", "8BITMIME", "SMTPUTF8"))]
        return responses + ["250-" + words for words in OFFERS] + ["250 HELP"]

    async def handle_STARTTLS(self, server, session, envelope):
        return True

    async def handle_DATA(self, server, session, envelope):
        what = server.next("end")
        if what is None or what in ("HANGUP", "STALL", "HALFCLOSE"):
            server.note(envelope)
        if what is None:
            return "250 2.0.0 taken"
        await server.act(what)
        return None

    async def handle_exception(self, error):
        print(repr(error), file=sys.stderr, flush=True)
        return "451 4.3.0 " + repr(error)


class Receiver(SMTP):
    line_length_limit = 1 << 18
    command_size_limit = 2048

    def __init__(self):
        context = None
        if OPTIONS["tls"]:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(OPTIONS["certificate"], OPTIONS["key"])
        super().__init__(
            Handler(),
            hostname="mx.peer.test",
            ident="receiver",
            enable_SMTPUTF8=True,
            data_size_limit=60_000_000,
            tls_context=context,
            require_starttls=OPTIONS["tls"] == "required",
            timeout=120,
        )
        self.greeted = False
        self.forget()

    def forget(self):
        self.mail_parameters, self.recipients, self.chunks = "", [], None

    def next(self, stage):
        for rule in OPTIONS["script"]:
            if rule[0] == stage and rule[2] != 0:
                rule[2] -= 1
                return rule[1]
        return None

    async def act(self, what):
        """Does it. Comes back only after a reply that leaves the connection open."""
        if what == "HALFCLOSE":
            self.transport.write_eof()
        elif what == "HANGUP":
            self.transport.close()
        elif what != "STALL":
            lines = what.split("\n")
            await SMTP.push(self, "\r\n".join(lines))
            if not what.startswith("421"):
                return
            self.transport.close()
        # The end of the connection ends this as well.
        await asyncio.sleep(3600)

    async def push(self, status):
        if status is None:
            return
        if not self.greeted:
            self.greeted = True
            what = self.next("banner")
            if what:
                await self.act(what)
                self.transport.close()
                return
        await super().push(status)

    def note(self, envelope, bdat=False):
        global TAKEN
        TAKEN += 1
        file = f"{OPTIONS['out']}-{TAKEN}"
        with open(file, "wb") as out:
            out.write(envelope.original_content)
        tls = self.transport.get_extra_info("ssl_object")
        line = {
            "source": self.session.peer[0],
            "ehlo": self.session.host_name,
            "from": envelope.mail_from.replace("<>", ""),
            "parameters": self.mail_parameters,
            "to": self.recipients,
            "tls": tls and tls.version(),
            "bdat": bdat,
            "octets": file,
        }
        OUT.write(json.dumps(line) + "\n")
        OUT.flush()

    async def smtp_EHLO(self, arg):
        self.forget()
        what = self.next("ehlo")
        if what:
            return await self.act(what)
        await super().smtp_EHLO(arg)

    async def smtp_STARTTLS(self, arg):
        what = self.next("starttls")
        if what:
            return await self.act(what)
        await super().smtp_STARTTLS(arg)

    async def smtp_MAIL(self, arg):
        what = self.next("mail")
        if what:
            return await self.act(what)
        self.forget()
        path, self.mail_parameters = split(arg)
        await super().smtp_MAIL(path)

    async def smtp_RCPT(self, arg):
        what = self.next("rcpt")
        if what:
            return await self.act(what)
        path, parameters = split(arg)
        before = len(self.envelope.rcpt_tos)
        await super().smtp_RCPT(path)
        if len(self.envelope.rcpt_tos) > before:
            self.recipients.append([self.envelope.rcpt_tos[-1], parameters])

    async def smtp_DATA(self, arg):
        what = self.next("data")
        if what:
            return await self.act(what)
        what = self.next("middle")
        if what:
            await self.push("354 go ahead")
            await self._reader.readuntil(b"\r\n")
            await self.act(what)
            while await self._reader.readuntil(b"\r\n") != b".\r\n":
                pass
            return
        await super().smtp_DATA(arg)

    async def smtp_BDAT(self, arg):
        words = arg.split()
        chunk = await self._reader.readexactly(int(words[0]))
        if not any(words.split()[0] == "CHUNKING" for words in OFFERS):
            return await self.push("500 5.5.1 unknown command")
        if not self.envelope.rcpt_tos:
            return await self.push("503 5.5.1 need RCPT")
        self.chunks = (self.chunks or b"") + chunk
        if words[1:] != ["LAST"]:
            return await self.push("250 2.0.0 chunk taken")
        what = self.next("end")
        if what:
            return await self.act(what)
        self.envelope.original_content = self.chunks
        self.note(self.envelope, bdat=True)
        self._set_post_data_state()
        await self.push("250 2.0.0 taken")


def split(arg):
    """What aiosmtpd may see, and all parameters as they came."""
    end = (arg or "").find(">") + 1
    return arg[:end] if end else arg, arg[end:].strip() if end else ""


async def main():
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
