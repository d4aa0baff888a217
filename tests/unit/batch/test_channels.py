"""Channels on real servers of the loopback: what arrives, and which failures are worth another try."""

import asyncio
import hmac
import json
import sys
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.batch.alerts.channels.command import CommandSender
from gateway.batch.alerts.channels.email import EmailSender
from gateway.batch.alerts.channels.webhook import WebhookSender
from gateway.config.models import Mail as MailSettings
from gateway.config.models import Webhook
from gateway.contracts.alert import Message
from gateway.kernel.errors import AlertRefused, TransientError
from tests.certificate import Certificate, make_certificate
from tests.mailbox import Mailbox, mail_server
from tests.stub import web_service


def a_message(address: str | None = "ann@example.com", subject: str = "Job nightly failed") -> Message:
    return Message(
        site="shop", key="run:17:error:ann:email", user="ann", address=address, subject=subject,
        body="It failed: Größe.\n",
        facts={"event": "error", "run_id": 17}, raised_at=datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC),
    )  # fmt: skip


def settings_of(port: int, tls: str = "none") -> MailSettings:
    return MailSettings.model_validate({"host": "127.0.0.1", "port": port, "tls": tls, "from": "gw@example.com"})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of the mail server, which nobody has to trust."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


async def test_a_mail_arrives_and_sent_again_has_the_same_message_id() -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        for _ in range(2):
            await EmailSender(settings_of(port)).send(a_message())
    first, second = mailbox.mails
    assert (first["From"], first["To"], first["Subject"]) == (
        "gw@example.com",
        "ann@example.com",
        "[shop] Job nightly failed",
    )
    assert first["Message-ID"] == second["Message-ID"] and first["Message-ID"].endswith("@example.com>")
    assert "Größe" in str(first.get_payload(decode=True), "utf-8")


@pytest.mark.parametrize(
    ("answer", "error"),
    [("451 later", TransientError), ("550 nobody of that name", AlertRefused), ("535 who are you", TransientError)],
)
async def test_the_server_says_whether_trying_again_helps(answer: str, error: type[Exception]) -> None:
    async with mail_server(Mailbox(answer)) as port:
        with pytest.raises(error, match=answer.rsplit(maxsplit=1)[-1]):
            await EmailSender(settings_of(port)).send(a_message())


async def test_a_mail_server_that_is_away_is_tried_again() -> None:
    async with mail_server(Mailbox()) as port:
        pass
    with pytest.raises(TransientError, match="cannot be used"):
        await EmailSender(settings_of(port)).send(a_message())


@pytest.mark.parametrize("mode", ["tls", "starttls"])
async def test_a_mail_arrives_in_secret_at_a_server_that_is_trusted(
    mode: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    mailbox = Mailbox()
    async with mail_server(mailbox, **{mode: certificate.server()}) as port:
        await EmailSender(settings_of(port, mode)).send(a_message())
    assert [mail["Subject"] for mail in mailbox.mails] == ["[shop] Job nightly failed"]


@pytest.mark.parametrize("mode", ["tls", "starttls"])
async def test_a_server_that_nobody_vouches_for_gets_no_mail(mode: str, certificate: Certificate) -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox, **{mode: certificate.server()}) as port:
        with pytest.raises(TransientError, match=r"is not trusted.*self-signed.*SSL_CERT_FILE") as refused:
            await EmailSender(settings_of(port, mode)).send(a_message())
    assert refused.value.code == "mail.untrusted"
    assert mailbox.mails == []


@pytest.mark.parametrize("mode", ["tls", "starttls"])
async def test_a_server_with_the_certificate_of_another_one_gets_no_mail(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_certificate(tmp_path, "DNS:other.example.com")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.file))
    mailbox = Mailbox()
    async with mail_server(mailbox, **{mode: other.server()}) as port:
        with pytest.raises(TransientError, match=r"is not trusted.*not valid for '127\.0\.0\.1'"):
            await EmailSender(settings_of(port, mode)).send(a_message())
    assert mailbox.mails == []


@pytest.mark.parametrize("mode", ["tls", "starttls"])
async def test_a_server_without_secrecy_gets_no_mail_and_the_setting_is_named(mode: str) -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        with pytest.raises(TransientError, match=r"mail\.tls"):
            await EmailSender(settings_of(port, mode)).send(a_message())
    assert mailbox.mails == []


async def test_a_user_without_an_address_is_told_what_to_do() -> None:
    with pytest.raises(AlertRefused, match="ann has no e-mail address: give the account one"):
        await EmailSender(MailSettings(host="mail.example.com")).send(a_message(address=None))


async def test_what_is_not_set_up_is_named(tmp_path: Path) -> None:
    for sender, option in (
        (EmailSender(MailSettings()), "mail.host"),
        (WebhookSender(Webhook()), "alerts.webhook.url"),
        (CommandSender((), tmp_path), "alerts.command"),
    ):
        with pytest.raises(AlertRefused, match=option):
            await sender.send(a_message())


async def test_a_subject_cannot_bring_in_headers() -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        with pytest.raises(AlertRefused, match="No mail can be made"):
            await EmailSender(settings_of(port)).send(a_message(subject="x\nBcc: eve@example.com"))
    assert mailbox.mails == []


async def test_a_webhook_can_check_who_sent_it_and_that_it_knows_it_already() -> None:
    async with web_service() as service:
        await WebhookSender(Webhook(url=f"{service.url}/hook", secret="s3cret"), clock=lambda: 1000.9).send(a_message())
    (asked,) = service.asked
    digest = hmac.new(b"s3cret", b"1000." + asked.body, sha256).hexdigest()
    assert asked.headers["x-gateway-signature"] == f"sha256={digest}"
    assert (asked.headers["x-gateway-timestamp"], asked.headers["idempotency-key"]) == (
        "1000",
        "run:17:error:ann:email",
    )
    posted = json.loads(asked.body)
    assert (posted["run_id"], posted["user"], posted["subject"]) == (17, "ann", "Job nightly failed")


@pytest.mark.parametrize(("status", "error"), [(503, TransientError), (404, TransientError), (410, AlertRefused)])
async def test_the_answer_of_a_webhook_says_whether_trying_again_helps(status: int, error: type[Exception]) -> None:
    async with web_service(lambda _: (status, b"no")) as service:
        with pytest.raises(error, match=str(status)):
            await WebhookSender(Webhook(url=service.url)).send(a_message())


async def test_a_webhook_that_is_away_is_tried_again() -> None:
    async with web_service() as service:
        pass
    with pytest.raises(TransientError, match="cannot be reached"):
        await WebhookSender(Webhook(url=service.url)).send(a_message())


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_end_is_not_read_to_its_end(status: int) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d so\r\nTransfer-Encoding: chunked\r\n\r\n" % status)
        with suppress(ConnectionError):
            while True:
                writer.write(b"10000\r\n" + b"n" * 65_536 + b"\r\n")
                sent += 65_536
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        sending = WebhookSender(Webhook(url=url)).send(a_message())
        if status == 200:
            await sending
        else:
            with pytest.raises(TransientError, match=r"answered 500: n{200}$"):
                await sending
    assert sent < 50_000_000


async def test_of_what_a_command_says_without_end_only_the_last_words_are_kept(tmp_path: Path) -> None:
    code = "import sys; [sys.stdout.write('n' * 100_000) for _ in range(400)]; sys.exit('last words')"
    tracemalloc.start()
    try:
        with pytest.raises(TransientError, match=r"exit code 1: n+last words$"):
            await a_command(code, tmp_path).send(a_message())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


def a_command(code: str, folder: Path) -> CommandSender:
    return CommandSender((sys.executable, "-I", "-c", code), folder)


async def test_a_command_reads_the_alert_and_its_key(tmp_path: Path) -> None:
    code = (
        "import json, os, sys; a = json.load(sys.stdin);"
        "open('told', 'w').write(a['subject'] + '|' + os.environ['GATEWAY_ALERT_KEY'])"
    )
    await a_command(code, tmp_path).send(a_message())
    assert (tmp_path / "told").read_text() == "Job nightly failed|run:17:error:ann:email"


async def test_a_command_that_fails_or_hangs_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TransientError, match="exit code 3: oh"):
        await a_command("print('oh'); raise SystemExit(3)", tmp_path).send(a_message())
    with pytest.raises(TransientError, match="cannot be started"):
        await CommandSender(("no-such-program-here",), tmp_path).send(a_message())
    monkeypatch.setattr("gateway.batch.alerts.channels.command._SECONDS", 0.2)
    with pytest.raises(TransientError, match="did not end within"):
        await a_command("import time; time.sleep(600)", tmp_path).send(a_message())


async def test_an_interrupted_command_ends(tmp_path: Path) -> None:
    task = asyncio.create_task(a_command("import time; time.sleep(600)", tmp_path).send(a_message()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
