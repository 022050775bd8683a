"""An SMTP server made of aiosmtpd. Arguments: PORT starttls|implicit CERTIFICATE KEY DIRECTORY PASSWORD SIZE EXCLUDED

Each message is synced to DIRECTORY before its 250: `N.json` with the envelope beside `N.eml`. Each login, good or bad,
is a line in DIRECTORY/logins. EXCLUDED is a mechanism that is not offered, or `-`.
"""
import asyncio, json, os, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

port, mode, certificate, key, directory, password, size, excluded = sys.argv[1:9]


def sync(name, data):
    path = os.path.join(directory, name)
    with open(path + ".part", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".part", path)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nosuch@"):
            return "550 5.1.1 No such user here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        number = len([name for name in os.listdir(directory) if name.endswith(".json")])
        sync("%d.eml" % number, envelope.content)
        told = {"recipients": envelope.rcpt_tos, "mail_options": envelope.mail_options,
                "username": session.auth_data.login.decode(), "tls": session.ssl is not None or mode == "implicit"}
        sync("%d.json" % number, json.dumps(told).encode())
        return "250 2.0.0 Taken"


def authenticator(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.password.decode() == password
    with open(os.path.join(directory, "logins"), "a") as file:
        file.write("%s %s\n" % (mechanism, "good" if good else "bad"))
    return AuthResult(success=good, handled=False, auth_data=data)


def session():
    implicit = mode == "implicit"
    return SMTP(Handler(), hostname="localhost", data_size_limit=int(size), enable_SMTPUTF8=True,
                tls_context=None if implicit else context, require_starttls=not implicit,
                auth_required=True, auth_require_tls=not implicit, authenticator=authenticator,
                auth_exclude_mechanism=[] if excluded == "-" else [excluded], loop=loop)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(loop.create_server(session, "127.0.0.1", int(port), reuse_address=True,
                                           ssl=context if mode == "implicit" else None))
loop.run_forever()
