"""Read a file envelope by envelope: hardened, in bounded memory, whatever it holds.

Nothing that comes out counts before the FileEnd has come: only then the file is known to be whole. An envelope
that is wrong comes out with its problems; a file that is wrong ends in FileRefused.
Source: reliability reference, sections 3.1 to 3.4 and 4.1; architecture, section 7.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from lxml import etree

from gateway.kernel.errors import ConfigError, FileRefused, SchemaUnusable
from gateway.kernel.namespaces import ENVELOPE_NAMESPACES, Scheme, in_scheme
from gateway.kernel.problem import MAX_PROBLEMS, Problem, first_of
from gateway.messaging.rules.envelope import FileEnd, FileHead, ReadEnvelope, Root
from gateway.xml.declarations import misnamed, too_many_declarations
from gateway.xml.encoding import PREFIX_BYTES, FileEncoding, detect
from gateway.xml.header import Names, read_frame
from gateway.xml.limits import Budget, ReadRules
from gateway.xml.locate import Locator
from gateway.xml.malformed import complains_of_namespaces_alone, empty_file, incomplete, refusal_of_stopped
from gateway.xml.names import XML_SPACE, XSI_TYPE, clean, line_of, local_name, split_name
from gateway.xml.parse import pull_parser
from gateway.xml.root import RootElement, read_root
from gateway.xml.source import CHUNK_BYTES, Source, measure
from gateway.xml.usual_header import UsualFrames
from gateway.xml.verdict import Checker

_KEPT_CHILDREN = 64
"""Children kept per level of an envelope that is over its limit: enough for its header."""


def read_envelopes(
    fd: int,
    rules: ReadRules,
    checker: Checker | None = None,
    locator: Locator | None = None,
    clock: Callable[[], float] = time.process_time,
) -> Iterator[FileHead | ReadEnvelope | FileEnd]:
    """Yield the head of a file, its envelopes in document order, its end.

    Shape: *fd* is open for reading, its shared offset is neither used nor moved; without *checker* documents
    are not validated, without *locator* problems carry no place. *clock* tells the seconds that count for what a
    file may cost.
    Raises: FileRefused, with size and SHA-256 in its context where the file could be read.
    """
    source = Source(fd, rules.max_file_bytes)
    if checker is not None:
        checker.begin()
    try:
        yield from _Reading(source, rules, checker, locator, clock).run()
    except FileRefused as refused:
        refused.context = {**refused.context, **source.facts()}
        raise


class _Reading:
    """One pass over one file."""

    def __init__(
        self,
        source: Source,
        rules: ReadRules,
        checker: Checker | None,
        locator: Locator | None,
        clock: Callable[[], float],
    ) -> None:
        prefix = source.peek(0, PREFIX_BYTES)
        self._encoding = detect(prefix)
        if not prefix and (empty := empty_file(source, self._encoding)) is not None:
            raise empty
        self._source = source
        self._rules = rules
        self._checker = checker
        self._locator = locator
        self._budget = Budget(source.size, clock)
        self._crowded_tag = re.compile(rb'<[^<>"=]*(?:="[^<>"]*"[^<>"=]*){%d}' % (rules.max_attributes + 1))
        self._usual = UsualFrames()
        self._position = 0
        self._root: etree._Element | None = None
        self._previous: etree._Element | None = None
        self._current: etree._Element | None = None
        self._in_batch = False
        self._depth = 0  # of Envelopes within one another
        self._nested = False
        self._pruned = False
        self._complained = False  # the parser complains of something, though it reads on
        self._chunk_at = 0
        self._opened_at = 0
        self._ended_at = 0

    def run(self) -> Iterator[FileHead | ReadEnvelope | FileEnd]:
        root = read_root(self._source, self._encoding, self._rules)
        self._in_batch = root.head.root is Root.BATCH
        yield root.head
        yield from self._envelopes(root)
        self._source.check_unchanged()
        yield FileEnd(envelopes=self._position, size=self._source.offset, sha256=self._source.digest())

    def _envelopes(self, root: RootElement) -> Iterator[ReadEnvelope]:
        """Feed the file to the parser and hand on what becomes complete."""
        parser = pull_parser(("start", "end"), (*_NAMES, root.tag))
        for chunk in _respelled(self._source.chunks(), root):
            failure: etree.XMLSyntaxError | None = None
            try:
                parser.feed(chunk)
            except etree.XMLSyntaxError as error:
                failure = error  # what was complete before it still comes first
            self._complained = self._complained or bool(len(parser.feed_error_log))
            yield from self._complete(parser)
            if failure is not None:
                raise refusal_of_stopped(failure, parser, self._source, self._encoding, closing=False) from failure
            self._check_memory()
            self._check_time(self._position if self._current is None else self._position + 1)
            self._chunk_at = self._source.offset
        try:
            parser.close()
        except etree.XMLSyntaxError as error:
            if not complains_of_namespaces_alone(parser.feed_error_log):  # the envelopes with those are told of them
                raise refusal_of_stopped(error, parser, self._source, self._encoding, closing=True) from error
        yield from self._complete(parser)
        if self._root is None or self._depth:
            raise incomplete()  # the parser says so first; nothing but a whole document may pass here
        _check_document(self._root, self._encoding)

    def _complete(self, parser: etree.XMLPullParser) -> Iterator[ReadEnvelope]:
        """Follow start and end tags of Batch and Envelope, and yield each Envelope that has ended."""
        events = cast(Iterator[tuple[str, etree._Element]], parser.read_events())
        for event, element in events:
            is_envelope = element.tag in _NAMES
            if event == "start":
                if self._root is None:
                    self._root = element
                elif not is_envelope and self._depth == 0:
                    raise _foreign(element)
                if is_envelope:
                    self._begin(element)
            elif is_envelope:
                self._depth -= 1
                if self._depth == 0:
                    yield self._finish(element)
            elif element is self._root:
                self._check_batch_end(element)

    def _finish(self, element: etree._Element) -> ReadEnvelope:
        """Check a complete Envelope and let go of the one before it."""
        if self._in_batch:
            self._check_neighbours(element)
        self._position += 1
        if self._position > self._rules.max_envelopes:
            text = f"The Batch has more than {self._rules.max_envelopes} envelopes; send it in several files."
            raise FileRefused(text, code="batch.too-many", line=line_of(element))
        names = _NAMES[element.tag]
        problems: list[Problem] = []  # of the whole envelope
        size = self._size(element)
        if size >= self._rules.max_envelope_bytes:
            content = b""
            problems.append(self._too_large(size))
        else:
            content = etree.tostring(element, encoding="utf-8", with_tail=False)
            self._check_attributes(content, element)
        if self._nested:
            text = "An Envelope stands inside another one; it is not taken for a message. Put it beside the first one."
            problems.append(Problem(code="envelope.nested", text=text, path="/Envelope"))
        frame = read_frame(element, names, content, self._usual, strict=self._rules.strict_header)
        if (crowded := too_many_declarations(element, content, frame.parts)) is not None:
            problems.append(crowded)
        if self._complained and (unnamed := misnamed(element, content)) is not None:
            problems.append(unnamed)
        judged = self._checker is not None and content and not problems
        body_problems = self._judge(frame.parts) if judged else ()
        problems.extend(frame.problems)
        header_problems = self._placed(element, problems[:MAX_PROBLEMS])
        body_problems = self._placed(element, body_problems)
        if header_problems or body_problems or size > CHUNK_BYTES:
            self._check_time(self._position)  # so that its time is not counted as that of the next one
        self._ended_at = self._source.offset
        self._current = None
        return ReadEnvelope(
            position=self._position,
            namespace=names.namespace,
            header=frame.header,
            parts=tuple([part.tag for part in frame.parts]),
            content=content,
            header_problems=tuple(header_problems),
            body_problems=tuple(body_problems),
            schema=self._checker.fingerprint if self._checker is not None else None,
        )

    def _begin(self, element: etree._Element) -> None:
        """Note where an Envelope begins; one inside another is no message, only a problem of the outer one."""
        self._depth += 1
        if self._depth == 1:
            self._current = element
            self._opened_at = self._chunk_at
            self._budget.begin_envelope()
            self._nested = self._pruned = False
        else:
            self._nested = True

    def _judge(self, parts: Sequence[etree._Element]) -> Sequence[Problem]:
        """Return what is wrong with the documents of an envelope."""
        assert self._checker is not None
        found: list[Problem] = []
        for part in parts:
            if part.get(XSI_TYPE) is not None:
                continue  # already a problem of the frame
            try:
                wrong = self._checker.check(part, brief=self._budget.short)
            except ConfigError as error:  # the operator's mistake: this message waits for him, the file goes on
                text = f"The schema of {local_name(part)} cannot be used: {clean(str(error.problems[0]))}"
                wrong = (Problem(code=SchemaUnusable.code, text=text, path=f"/{local_name(part)}"),)
            if wrong:  # what is good costs little
                found.extend(wrong)
                self._check_time(self._position)
        return first_of(found)

    def _placed(self, envelope: etree._Element, problems: Sequence[Problem]) -> Sequence[Problem]:
        """Return problems with their places in the file; of an envelope that was cut down, without."""
        if not problems or self._locator is None or self._pruned:
            return problems
        return self._locator.place(self._source.fd, self._encoding.name, self._position, envelope, problems)

    def _check_neighbours(self, element: etree._Element) -> None:
        """Refuse a Batch that holds anything but Envelopes; drop the Envelope before this one.

        It is dropped only now because its tail, the text behind it, is complete only now.
        """
        root, before = self._root, element.getprevious()
        assert root is not None
        if element.getparent() is not root:
            raise _foreign(root[-1])
        if before is not self._previous:
            raise _foreign(root[0] if self._previous is None else root[1])
        if before is None:
            self._check_text(root.text, root)
        else:
            self._check_text(before.tail, before)
            root.remove(before)
        self._previous = element

    def _check_batch_end(self, root: etree._Element) -> None:
        """Refuse a Batch without Envelopes, or with anything behind the last one."""
        if self._previous is None:
            if len(root):
                raise _foreign(root[0])
            self._check_text(root.text, root)
            raise FileRefused(
                "The Batch holds no Envelope; put at least one message into it.",
                code="batch.empty",
                line=line_of(root),
            )
        if len(root) > 1:
            raise _foreign(root[1])
        self._check_text(self._previous.tail, self._previous)

    def _check_text(self, text: str | None, before: etree._Element) -> None:
        """Refuse text directly in the Batch."""
        if text is not None and text.strip(XML_SPACE):
            raise FileRefused(
                f"Text stands between the envelopes of the Batch: {clean(text)!r}. Remove it.",
                code="batch.text",
                line=line_of(before),
            )

    def _check_attributes(self, content: bytes, element: etree._Element) -> None:
        """Refuse an element with too many attributes before anything lists them, which would take for ever.

        The serialised form is asked: one count for nearly all envelopes, one pattern for the others.
        """
        limit = self._rules.max_attributes
        if content.count(b"=") > limit and self._crowded_tag.search(content) is not None:
            raise FileRefused(
                f"An element of envelope {self._position} has more than {limit} attributes and namespace "
                "declarations; no business document needs that.",
                code="xml.too-many-attributes",
                line=line_of(element),
            )

    def _check_memory(self) -> None:
        """Keep memory bounded whatever the envelope that is being read holds."""
        offset = self._source.offset
        if self._current is None:
            if offset - self._ended_at > self._rules.hard_envelope_bytes and self._root is not None:
                if len(self._root) > (self._previous is not None):
                    raise _foreign(self._root[-1])
                self._ended_at = offset
            return
        size = offset - self._opened_at
        if size > self._rules.hard_envelope_bytes:
            raise FileRefused(
                f"Envelope {self._position + 1} goes on beyond {self._rules.hard_envelope_bytes} bytes. "
                f"A message must be smaller than {self._rules.max_envelope_bytes} bytes.",
                code="message.too-large",
                line=line_of(self._current),
            )
        if size > self._rules.max_envelope_bytes + 2 * CHUNK_BYTES:
            self._pruned = True
            _prune(self._current)

    def _check_time(self, envelope: int) -> None:
        """Keep the time bounded, too: looked at after each piece of the file and after each bad document."""
        if self._current is None:
            self._budget.begin_envelope()
        self._budget.check(envelope, self._source.offset - self._opened_at, self._current)

    def _size(self, element: etree._Element) -> int:
        """Return the bytes of the Envelope that ended in this chunk: an upper bound, exact near the limit.

        Where the limit is smaller than a chunk, which may hold many envelopes, those within one chunk go by their
        serialised length.
        """
        upper = self._source.offset - self._opened_at
        if self._pruned or upper < self._rules.max_envelope_bytes:
            return upper
        if self._opened_at == self._chunk_at:
            return len(etree.tostring(element, encoding="utf-8", with_tail=False)) * self._encoding.unit
        return measure(self._source, self._encoding, self._opened_at, self._chunk_at)

    def _too_large(self, size: int) -> Problem:
        limit = self._rules.max_envelope_bytes
        return Problem(
            code="message.too-large",
            text=f"The message has {'more than ' if self._pruned else ''}{size} bytes; "
            f"it must be smaller than {limit}. Send it in several messages.",
            path="/Envelope",
            expected=f"fewer than {limit} bytes",
        )


def _respelled(chunks: Iterator[bytes], root: RootElement) -> Iterator[bytes]:
    """Yield the bytes for the parser: as received, but for the name of the root where it cannot be taken so."""
    if root.respell is not None:
        start = b""
        while len(start) < root.length:
            start += next(chunks)
        yield start[: root.length].replace(*root.respell) + start[root.length :]
    yield from chunks


def _prune(envelope: etree._Element) -> None:
    """Drop what an over-long Envelope has brought so far, but for its first children and the open ones.

    The last child of every level stays: it may be open, and the parser still writes to it.
    """
    element = envelope
    while len(element):
        del element[_KEPT_CHILDREN:-1]
        element = element[-1]


def _check_document(root: etree._Element, encoding: FileEncoding) -> None:
    """Make sure that the parser saw what we saw: no document type, the same encoding (known only at the end)."""
    info: Any = root.getroottree().docinfo  # Any: its stub lacks what is asked here
    if info.doctype or info.internalDTD is not None:
        raise FileRefused("The file has a DOCTYPE; remove it.", code="dtd.forbidden", line=line_of(root))
    seen = info.encoding or "UTF-8"  # also said of UTF-16 without declaration
    if seen not in ("UTF-8", encoding.declared):
        text = f"The file declares {clean(seen)} in a way that hides it from the check before parsing."
        raise FileRefused(text, code="encoding.mismatch", line=1, column=1)


def _foreign(element: etree._Element) -> FileRefused:
    """Return the refusal of something that is no Envelope in a Batch."""
    namespace, local = split_name(str(element.tag))
    where = f"in the namespace {clean(namespace)}" if namespace else "without namespace"
    remedy = "Write the namespace of the message on it." if local == "Envelope" else "Remove it."
    return FileRefused(
        f"A Batch holds Envelopes of the message namespace alone; {clean(local)} {where} is none. {remedy}",
        code="batch.foreign-element",
        line=line_of(element),
    )


_NAMES = {
    names.envelope: names
    for namespace in ENVELOPE_NAMESPACES
    for scheme in Scheme
    for names in (Names.of(in_scheme(namespace, scheme)),)
}
"""The names of every envelope namespace in both its forms."""
