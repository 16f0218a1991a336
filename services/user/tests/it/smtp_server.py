"""A mail server for tests: keeps what it gets as files, one for each mail, in the order they came.

usage: smtp_server.py FOLDER PORT [--tls start|asked --certificate PEM --key PEM]
                      [--login USER PASSWORD] [--stall]

A file is JSON: to, sender, headers, parts (decoded, by type), and how the sender came in. With
--stall it reads each mail's content whole and never answers. Mail to `gone-…` is refused, to `busy-…` turned away for now. Prints `ready`.
"""

import argparse
import asyncio
import email
import email.policy
import itertools
import json
import pathlib
import ssl

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

arguments = argparse.ArgumentParser()
arguments.add_argument("folder", type=pathlib.Path)
arguments.add_argument("port", type=int)
arguments.add_argument("--tls", choices=["start", "asked"])
arguments.add_argument("--certificate")
arguments.add_argument("--key")
arguments.add_argument("--login", nargs=2)
arguments.add_argument("--stall", action="store_true")
given = arguments.parse_args()

numbers = itertools.count(len(list(given.folder.iterdir())))


class Keeper:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone-"):
            return f"550 nobody is called {address}"
        if address.startswith("busy-"):
            return f"450 {address} is busy"
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server, session, envelope):
        if given.stall:
            (given.folder.parent / "stalled").touch()
            await asyncio.sleep(3600)
        name = f"{next(numbers):04}.json"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail = {
            "to": envelope.rcpt_tos,
            "sender": envelope.mail_from,
            "headers": {name.lower(): str(value) for name, value in message.items()},
            "parts": {part.get_content_type(): part.get_content() for part in message.iter_parts()},
            "in_tls": server.transport.get_extra_info("ssl_object") is not None,
            "logged_in": bool(session.authenticated),
            "greeted_as": session.host_name,
        }
        # A reader sees whole files only: what is being written has another ending.
        unread = given.folder / f"{name}.part"
        unread.write_text(json.dumps(mail))
        unread.rename(given.folder / name)
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    login = isinstance(data, LoginPassword) and [data.login.decode(), data.password.decode()]
    return AuthResult(success=login == given.login)


async def serve():
    context = None
    if given.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(given.certificate, given.key)

    def connection():
        return SMTP(
            Keeper(),
            hostname="mail.test",
            tls_context=context if given.tls == "asked" else None,
            require_starttls=given.tls == "asked",
            authenticator=authenticate if given.login else None,
            auth_required=bool(given.login),
            auth_require_tls=given.tls == "asked",
        )

    wrapped = context if given.tls == "start" else None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", given.port, ssl=wrapped)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(serve())
