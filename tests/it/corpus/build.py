"""Builds the corpus: messages that real and hostile senders make, each for one oddity.

python3 build.py [DIRECTORY] writes the .eml files, octet for octet what a client sends (before dot-stuffing), and
index.tsv: file, fate, why it is here. Fates: `kept`: comes out as it went in. `ended`: as it went in, with CRLF behind
its last line, which DATA cannot leave out. Anything else: the reply that refuses it.
"""

import pathlib
import sys

HEAD = b"From: a@example.test\r\nTo: b@peer.test\r\nSubject: %s\r\nX-Test-Id: %s\r\n"
corpus = []


def add(name, why, octets, fate="kept"):
    corpus.append((name, fate, why, octets))


def mail(name, why, body, header=b"", fate="kept"):
    head = HEAD % (why.encode()[:60].split(b":")[0], name.encode())
    add(name, why, head + header + b"\r\n" + body, fate)


MIME = b"MIME-Version: 1.0\r\n"

# Dots: what is stuffed and what is not, at the start, at the end, alone, in rows.
mail("dot-alone", "lines of one dot: the end of data if nobody stuffs", b".\r\n.\r\nbetween\r\n.\r\n")
mail("dots-many", "lines of two to five dots", b"..\r\n...\r\n....\r\n.....\r\n")
mail("dot-first", "the body begins with a dot", b".begins\r\nends\r\n")
mail("dot-last", "the last line begins with a dot", b"begins\r\n.ends\r\n")
mail("dot-space", "dot and space, dot and tab: not the end", b". \r\n.\t\r\n .\r\n")
mail("dot-commands", "what follows a dot looks like a dialogue", b".\r\nMAIL FROM:<x@evil.test>\r\n.QUIT\r\n..\r\n")
mail(
    "dot-borders",
    "lines that grow by one: each border of a chunk or segment falls before, on and behind a dot somewhere",
    b"".join(b"." * (n % 3) + b"x" * (n % 97) + b"\r\n" for n in range(3000)),
)
mail(
    "dot-16k",
    "a dot at each side of every border of 4, 8, 16 and 64 KiB",
    b"".join(b"." + b"y" * 1021 + b"\r\n" for _ in range(150)),
)

# Line ends.
mail("no-body-lines", "header and the empty line, nothing behind", b"")
mail("blank-body", "a body of empty lines", b"\r\n" * 40)
mail("blank-end", "empty lines behind the text", b"text\r\n\r\n\r\n\r\n")
add("header-only", "a header without the empty line behind it", HEAD % (b"header only", b"header-only"))
add("no-header", "text from the first line", b"This is no header field\r\nand neither is this: X\r\n\r\ntext\r\n")
add("empty-line-first", "the header is empty", b"\r\nonly a body\r\n")
add("empty", "nothing at all", b"")
add("one-newline", "one empty line", b"\r\n")
add("one-dot", "one dot", b".\r\n")
add("no-final-newline", "the last line is not ended", HEAD % (b"open", b"no-final-newline") + b"\r\nopen end", "ended")
add("one-octet", "one octet, not ended", b"x", "ended")
add("dot-no-newline", "a dot and no line end", HEAD % (b"open", b"dot-no-newline") + b"\r\nabc\r\n.", "ended")
mail("trailing-space", "white space at the ends of lines", b"one \r\ntwo\t\r\n \r\n\t\r\n-- \r\nsignature\r\n")

# Lengths.
for length in (76, 997, 998, 999, 1000, 2047, 2048, 2049, 4096, 16384, 65535, 65536):
    mail(f"line-{length}", f"a line of {length} octets: RFC 5322 wants at most 998, real mail has more", b"a" * length + b"\r\nshort\r\n")
mail("lines-998-dots", "lines of 998 octets that begin with a dot and grow by it", (b"." + b"b" * 997 + b"\r\n") * 20)
mail("header-long", "a field in one line of 20,000 octets", b"body\r\n", b"X-Long: " + b"c" * 20000 + b"\r\n")
mail("header-folded", "fields folded at every word, with tabs and spaces", b"body\r\n", b"X-Folded:\r\n one\r\n\ttwo\r\n  three\r\n\t\r\n four\r\n")
mail("header-references", "References of 300 ids, folded", b"body\r\n", b"References: " + b"\r\n ".join(b"<%d.abcdef@example.test>" % n for n in range(300)) + b"\r\n")
mail("header-many", "700 fields of the same name", b"body\r\n", b"".join(b"X-Many: %d\r\n" % n for n in range(700)))
mail("header-100k", "a header of 100,000 octets", b"body\r\n", b"".join(b"X-Pad-%d: %s\r\n" % (n, b"d" * 900) for n in range(110)))

# Header fields.
mail("header-empty-fields", "fields without content, and without a space", b"body\r\n", b"X-Empty:\r\nX-Space: \r\nX-None:x\r\nx-LOWER:  two\r\n")
mail("header-odd-names", "names that RFC 5322 allows and nobody expects", b"body\r\n", b"!#$%&'*+-.^_`{|}~: x\r\n1: y\r\n")
mail("header-space-colon", "white space before the colon, obsolete", b"body\r\n", b"X-Old : obs\r\nX-Older\t: obs\r\n")
mail("header-twice", "two From, two Subject, two Message-ID", b"body\r\n", b"From: c@example.test\r\nSubject: again\r\nMessage-ID: <1@x.test>\r\nMessage-ID: <2@x.test>\r\n")
mail("header-encoded-words", "encoded words of several charsets, one broken", b"body\r\n", b"X-Words: =?utf-8?Q?gr=C3=BC=C3=9Fe?= =?iso-8859-1?Q?=E9?=\r\n =?iso-2022-jp?B?GyRCJEskWxsoQg==?= =?utf-8?B?broken?\r\n")
mail("header-raw-8bit", "octets above 127 in a field, UTF-8 and not", b"body\r\n", b"X-Latin: gr\xfc\xdfe\r\nX-Utf8: gr\xc3\xbc\xc3\x9fe\r\n")
mail("header-controls", "control characters other than CR, LF and NUL", b"\x01\x02\x07\x08\x0b\x0c\x1b[31m\x7f\r\n", b"X-Ctl: a\x07b\x1bc\r\n")
add("mbox-from", "a From line of a mailbox in front of the header", b"From a@example.test Mon Jan  1 00:00:00 2026\r\n" + HEAD % (b"mbox", b"mbox-from") + b"\r\nbody\r\n")
mail("from-lines", "lines that mailboxes would quote", b"From the start\r\n>From quoted\r\nFrom \r\n")
mail("received-loop", "twenty trace fields of others", b"body\r\n", b"".join(b"Received: from h%d.test by h%d.test; Thu, 1 Jan 2026 00:00:00 +0000\r\n" % (n, n + 1) for n in range(20)))
mail("signed", "a signature of another, and white space that it covers", b"body  with   spaces \r\n", b"DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.test; s=s;\r\n\th=From:To; bh=AAAA=;\r\n\tb=BBBB\r\n  CCCC=\r\n")

# Eight bits and charsets.
every = bytes(n for n in range(1, 256) if n not in (10, 13))
mail("all-octets", "every octet but NUL, CR and LF", every + b"\r\n", MIME + b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit\r\n")
mail("utf-8", "UTF-8 of one to four octets", "aéß€漢字🐎 ‮abc\u202c\r\n".encode(), MIME + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n")
mail("utf-8-bom", "UTF-8 behind a byte order mark", b"\xef\xbb\xbftext\r\n", MIME + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n")
mail("utf-8-broken", "no UTF-8: cut, too long, lone surrogates", b"\xc3\r\n\xc0\xaf\xed\xa0\x80\xf5\x80\x80\x80\r\n", MIME + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n")
mail("latin-1", "Latin-1 without saying so", b"caf\xe9 \xa0 na\xefve\r\n")
mail("iso-2022-jp", "escape sequences", b"\x1b$B$K$[$s$4\x1b(B\r\n", MIME + b"Content-Type: text/plain; charset=iso-2022-jp\r\n")
mail("gb18030", "a charset of two and four octets", "漢字".encode("gb18030") + b"\r\n", MIME + b"Content-Type: text/plain; charset=gb18030\r\nContent-Transfer-Encoding: 8bit\r\n")
mail("line-separators", "NEL, U+2028, VT and FF end no line", "a\u0085b\u2028c\x0bd\x0ce\r\n".encode(), MIME + b"Content-Type: text/plain; charset=utf-8\r\n")

# MIME.
mail("qp-soft", "quoted-printable with soft line ends, bad escapes and a dot behind one", b"a=\r\n.b=3D=\r\n=ZZ =\r\n\r\n", MIME + b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n")
mail("base64-odd", "base64 with lines of any length, no padding, and text behind", b"QUJD\r\nREVGRw\r\n==\r\ntrailer!\r\n", MIME + b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n")
B = b"Content-Type: multipart/mixed; boundary="
mail("boundary-plain", "two parts, preamble and epilogue", b"preamble\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--b--\r\nepilogue\r\n", MIME + B + b"b\r\n")
mail("boundary-quoted", "a boundary of every allowed character", b"--a'()+_,-./:=? z\r\n\r\nx\r\n--a'()+_,-./:=? z--\r\n", MIME + B + b"\"a'()+_,-./:=? z\"\r\n")
mail("boundary-prefix", "one boundary begins with the other", b"--b\r\n" + B + b"bb\r\n\r\n--bb\r\n\r\nin\r\n--bb--\r\n--b--\r\n", MIME + B + b"b\r\n")
mail("boundary-dots", "boundaries that begin with dots where lines do", b".--b\r\n--.b\r\n\r\n.x\r\n--.b--\r\n", MIME + B + b"\".b\"\r\n")
mail("boundary-open", "never closed", b"--b\r\n\r\none\r\n", MIME + B + b"b\r\n")
mail("boundary-missing", "multipart without one", b"--b\r\n\r\none\r\n--b--\r\n", MIME + b"Content-Type: multipart/mixed\r\n")
mail("boundary-spaces", "white space behind boundaries", b"--b \t\r\n\r\none\r\n--b-- \r\n", MIME + B + b"b\r\n")
deep = b""
for n in range(60):
    deep += b"--b%d\r\n" % n + B + b"b%d\r\n\r\n" % (n + 1)
mail("nested-60", "sixty multiparts in each other, none closed", deep + b"--b60\r\n\r\ninnermost\r\n", MIME + B + b"b0\r\n")
mail("message-rfc822", "a message in a message in a message", b"Subject: 1\r\nContent-Type: message/rfc822\r\n\r\nSubject: 2\r\n\r\n.\r\n", MIME + b"Content-Type: message/rfc822\r\n")
mail("partial", "a part of a divided message", b"second half\r\n", MIME + b"Content-Type: message/partial; id=\"x\"; number=2; total=2\r\n")
mail("mixed-charsets", "three parts in three charsets, one of them eight bit and one binary by its word", b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa9\r\n--b\r\nContent-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xd0\xd2\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x89PNG\x1a\xff\r\n--b--\r\n", MIME + B + b"b\r\n")
mail("signed-part", "multipart/signed: nothing inside may change", b"--s\r\nContent-Type: text/plain \r\n\r\n-- \r\ntrailing \t\r\n\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n=AAAA\r\n--s--\r\n", MIME + b"Content-Type: multipart/signed; micalg=pgp-sha256; protocol=\"application/pgp-signature\"; boundary=s\r\n")
mail("parameters-2231", "file names in three charsets and five pieces", b"x\r\n", MIME + b"Content-Disposition: attachment;\r\n filename*0*=utf-8''%e2%82;\r\n filename*1*=%ac;\r\n filename*2=\"..\";\r\n filename=\"=?utf-8?Q?a?=\"\r\n")
mail("uuencoded", "text that is no MIME: lines that begin with anything", b"begin 644 f\r\n#0V%T\r\n`\r\nend\r\n.\r\n")
mail("mib", "one MiB of short lines with dots among them", b"".join((b"." if n % 7 == 0 else b"") + b"%08d\r\n" % n for n in range(110000)))

# Refused.
mail("refused-nul", "a NUL octet", b"a\x00b\r\n", fate="550 5.6.0")
mail("refused-nul-header", "a NUL octet in the header", b"body\r\n", b"X-Nul: a\x00b\r\n", fate="550 5.6.0")
mail("refused-bare-lf", "LF without CR", b"one\ntwo\r\n", fate="550 5.6.0")
mail("refused-bare-cr", "CR without LF", b"one\rtwo\r\n", fate="550 5.6.0")
mail("refused-cr-cr-lf", "two CR before LF", b"one\r\r\ntwo\r\n", fate="550 5.6.0")
mail("refused-lf-dot-lf", "LF dot LF, an end of data for some, and a second mail behind it", b"one\n.\nMAIL FROM:<x@evil.test>\r\n", fate="550 5.6.0")
mail("refused-lf-dot-crlf", "LF dot CR LF", b"one\n.\r\nMAIL FROM:<x@evil.test>\r\nRCPT TO:<y@evil.test>\r\nDATA\r\n", fate="550 5.6.0")
mail("refused-cr-dot-cr", "CR dot CR", b"one\r.\rtwo\r\n", fate="550 5.6.0")
mail("refused-header-lf", "a header with LF only", b"body\r\n", b"X-A: b\nX-C: d\r\n", fate="550 5.6.0")
mail("refused-line-65537", "a line longer than any program reads", b"a" * 65537 + b"\r\n", fate="550 5.6.0")

where = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
index = "".join(f"{name}.eml\t{fate}\t{why}\n" for name, fate, why, _ in corpus)
(where / "index.tsv").write_text(index)
for name, _, _, octets in corpus:
    (where / f"{name}.eml").write_bytes(octets)
