"""SPDY's bytes: the dictionary, header blocks, frames in any pieces, and what no hostile bytes may do."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podstead.streams.spdy import frames
from podstead.streams.spdy.frames import CONTROL_LIMIT, Kind, Parser, ProtocolError
from podstead.streams.spdy.headers import BLOCK_LIMIT, DICTIONARY, Compressor, Decompressor, HeaderError
from support.spdy import data, syn_stream

NAMES = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"]), min_size=1, max_size=20)
HEADERS = st.dictionaries(NAMES, st.text(max_size=40), max_size=6)


def test_the_dictionary_is_the_drafts() -> None:
    """Its length and Adler-32 are public: the checksum starts the first header block of every SPDY/3 connection."""
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@settings(deadline=None)
@given(st.lists(HEADERS, max_size=5))
def test_headers_come_back_through_one_context(blocks: list[dict[str, str]]) -> None:
    compressor, decompressor = Compressor(), Decompressor()
    for headers in blocks:
        assert decompressor.decompress(compressor.compress(headers)) == headers


def block(raw: bytes) -> bytes:
    compressor = zlib.compressobj(9, zdict=DICTIONARY)
    return compressor.compress(raw) + compressor.flush(zlib.Z_SYNC_FLUSH)


def pair(name: bytes, value: bytes) -> bytes:
    return struct.pack(">I", len(name)) + name + struct.pack(">I", len(value)) + value


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "cut short"),
        (struct.pack(">I", 1), "cut short"),
        (struct.pack(">II", 1, 1 << 31), "cut short"),
        (struct.pack(">I", 0xFFFFFFFF) + pair(b"a", b"b"), "cut short"),
        (struct.pack(">I", 1) + pair(b"a", b"b") + b"more", "more bytes than headers"),
        (struct.pack(">I", 1) + pair(b"Upper", b"b"), "capitals"),
        (struct.pack(">I", 1) + pair(b"", b"b"), "empty"),
        (struct.pack(">I", 2) + pair(b"a", b"b") * 2, "there twice"),
        (struct.pack(">I", 1) + pair(b"a", b"\xff"), "not text"),
        (struct.pack(">I", 1) + pair(b"a", bytes(BLOCK_LIMIT)), f"more than {BLOCK_LIMIT} bytes"),
    ],
)
def test_broken_header_blocks_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(HeaderError, match=message):
        Decompressor().decompress(block(raw))


def test_a_block_that_is_no_zlib_is_refused() -> None:
    with pytest.raises(HeaderError, match="cannot be decompressed"):
        Decompressor().decompress(b"\x78\x00garbage")
    ended = zlib.compressobj(9, zdict=DICTIONARY)
    with pytest.raises(HeaderError, match="ends the compression"):
        Decompressor().decompress(ended.compress(struct.pack(">I", 0)) + ended.flush())


def test_a_bomb_is_not_unpacked() -> None:
    bomb = block(bytes(64 << 20))[: CONTROL_LIMIT - 100]
    tracemalloc.start()
    try:
        with pytest.raises(HeaderError, match="more than"):
            Decompressor().decompress(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def stream_of_frames() -> tuple[bytes, list[frames.Frame]]:
    compressor = Compressor()
    wire = [
        syn_stream(compressor, 1, {"streamtype": "error"}, flags=1),
        data(1, b"hello"),
        data(1, b"", fin=True),
        frames.control(Kind.HEADERS, struct.pack(">I", 1) + compressor.compress({"a": "b"}), 1),
        frames.ping(7),
        frames.settings({frames.INITIAL_WINDOW_SIZE: 1000}),
        frames.window_update(1, 5),
        frames.rst_stream(1, frames.Reset.CANCEL),
        frames.control(10, b"credential"),  # type: ignore[arg-type]
        frames.goaway(1, frames.Gone.OK),
    ]
    meaning: list[frames.Frame] = [
        frames.SynStream(1, {"streamtype": "error"}, True, False),
        frames.Data(1, b"hello", False),
        frames.Data(1, b"", True),
        frames.HeadersFrame(1, {"a": "b"}, True, False),
        frames.Ping(7),
        frames.Settings({7: 1000}),
        frames.WindowUpdate(1, 5),
        frames.RstStream(1, 5),
        frames.GoAway(1, 0),
    ]
    return b"".join(wire), meaning


def joined(found: list[frames.Frame]) -> list[frames.Frame]:
    """Put the pieces of data frames together again."""
    whole: list[frames.Frame] = []
    for frame in found:
        last = whole[-1] if whole else None
        if (
            isinstance(frame, frames.Data)
            and isinstance(last, frames.Data)
            and last.data
            and not last.fin
            and frame.data
        ):
            whole[-1] = frames.Data(frame.stream_id, last.data + frame.data, frame.fin)
        else:
            whole.append(frame)
    return whole


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_frames_come_in_any_pieces(sizes: list[int]) -> None:
    wire, meaning = stream_of_frames()
    parser, found, position = Parser(), list[frames.Frame](), 0
    for size in [*sizes, len(wire)]:
        found += parser.feed(wire[position : position + size])
        position += size
    assert joined(found) == meaning


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b"GET / HTTP/1.1\r\n\r\n" * 2, None),  # is a data frame, to SPDY
        (frames.control(Kind.PING, b""), "PING frame has 0 bytes"),
        (frames.control(Kind.PING, bytes(5)), "PING frame has 5 bytes"),
        (frames.control(Kind.RST_STREAM, bytes(8)), "stream 0"),
        (frames.control(Kind.SYN_STREAM, b"\0\0"), "SYN_STREAM frame has 2 bytes"),
        (frames.control(Kind.SETTINGS, struct.pack(">I", 1 << 30)), "SETTINGS frame with 1073741824 settings"),
        (b"\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01", "version 2"),
        (struct.pack(">II", 0x80030001, CONTROL_LIMIT + 1), "a control frame has"),
        (frames.data_head(0, 3) + b"abc", "stream 0"),
    ],
)
def test_broken_frames_end_the_connection(wire: bytes, message: str | None) -> None:
    if message is None:
        assert all(isinstance(frame, frames.Data) for frame in Parser().feed(wire))
        return
    with pytest.raises(ProtocolError, match=message):
        list(Parser().feed(wire))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.binary(max_size=200) | st.sampled_from([stream_of_frames()[0]]), max_size=8))
def test_no_bytes_do_more_than_a_protocol_error(chunks: list[bytes]) -> None:
    parser = Parser()
    try:
        for chunk in chunks:
            for _ in parser.feed(chunk):
                pass
    except ProtocolError:
        pass


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_byte_does_no_more_than_a_protocol_error(choice: st.DataObject) -> None:
    wire = bytearray(stream_of_frames()[0])
    for _ in range(choice.draw(st.integers(1, 4))):
        wire[choice.draw(st.integers(0, len(wire) - 1))] = choice.draw(st.integers(0, 255))
    try:
        list(Parser().feed(bytes(wire)))
    except ProtocolError:
        pass


def test_a_large_data_frame_is_never_held_whole() -> None:
    parser, total = Parser(), 0
    list(parser.feed(frames.data_head(1, (16 << 20) - 1)))
    chunk = bytes(64 << 10)
    tracemalloc.start()
    try:
        for _ in range(200):
            total += sum(len(frame.data) for frame in parser.feed(chunk) if isinstance(frame, frames.Data))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert total == 200 * len(chunk)
